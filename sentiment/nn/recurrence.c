/* Steps of LSTM, GRU and tanh RNN over packed rows, forward and backward, on one thread.

   The input projection and the gradients of inputs and weights are the caller's: here is what must
   go step by step. A block of sequences goes through all steps before the next, so its states stay
   in the innermost cache.

   Compiled twice. As it is, all is float32: a tile of the recurrent product, ROWS sequences by some
   vectors of units, stays in registers over the whole sum and ends with the element-wise operations
   of its cell. With BFLOAT16 defined, what goes into products or is kept for the backward pass, an
   `item` here, is bfloat16: matrices, gates, deltas, an LSTM's cells, what a GRU's reset gate
   scales, the states before. The CPU multiplies those in pairs (AVX512-BF16) or in tiles (AMX), a
   block by a few vectors of units at a time, before its element-wise operations. Sums, biases,
   states, their gradients, the cell that goes from step to step and all that is element-wise stay
   float32.

   Shapes: T steps, N rows in packed order, D directions (1 or 2), H hidden units. Arrays are
   contiguous but for `gates` and `deltas` where a stride, items between their rows, is given.
   `sizes` (T) are the rows of each step, falling, N in all; the state before the first
   is zero. The second direction reads each sequence from its end: `order` (N) has the row of the
   input that it reads at each row. States and their gradients, (N, D, H), and what only these
   functions read are in each direction's reading order; what products with the inputs make or take
   is in the inputs' order.

   Written in the vector extensions that GCC and Clang share, the width following from the target,
   and in Intel's intrinsics where there are no such extensions. */

#include <stdint.h>
#include <string.h>

#ifdef BFLOAT16
#ifndef __AVX512BF16__
#error "this CPU has no products in bfloat16"
#endif
#if defined(__AMX_BF16__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#define TILES
#endif
#endif

#if defined(__AVX512F__)
#include <immintrin.h>
#define LANES 16
#define ROWS 8
#elif defined(__AVX__)
#define LANES 8
#define ROWS 4
#else
#define LANES 4
#define ROWS 4
#endif
#define BLOCK 32 /* sequences that go through all steps together */
#define GATES 3  /* vectors of a tile of the GRU's forward product: one unit vector of each gate */
#define LSTM 4   /* the same of the LSTM's, and the most that there are */
#define PAIR 2   /* vectors of a tile of the other products */

#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));
typedef float unaligned_vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#ifdef BFLOAT16
typedef uint16_t item;
#else
typedef float item;
#endif

/* Load or store `count` floats, a whole vector or less; lanes beyond them are zero. */
INLINE vec load(const float *from, int count) {
    if (count == LANES) return *(const unaligned_vec *)from;
    vec value = {0};
    for (int i = 0; i < count; i++) value[i] = from[i];
    return value;
}

INLINE void store(float *to, vec value, int count) {
    if (count == LANES) *(unaligned_vec *)to = value;
    else for (int i = 0; i < count; i++) to[i] = value[i];
}

/* The same for items. */
#ifdef BFLOAT16
INLINE vec load_items(const item *from, int count) {
    const __m256i items = count == LANES ? _mm256_loadu_si256((const __m256i *)from)
                                         : _mm256_maskz_loadu_epi16((1 << count) - 1, from);
    return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(items), 16);
}

INLINE void store_items(item *to, vec value, int count) {
    const __m256i items = (__m256i)_mm512_cvtneps_pbh((__m512)value);
    if (count == LANES) _mm256_storeu_si256((__m256i *)to, items);
    else _mm256_mask_storeu_epi16(to, (1 << count) - 1, items);
}
#else
#define load_items load
#define store_items store
#endif

/* Bring near what the next step reads or writes: memory is slower than the cells. */
#define FETCH(place) __builtin_prefetch(place, 1)

INLINE vec choose(ivec condition, vec yes, vec no) {
    return (vec)((condition & (ivec)yes) | (~condition & (ivec)no));
}

/* 1 / x of what is finite; for AVX-512 an estimate of 14 bits and a step of Newton's method. */
INLINE vec reciprocal(vec x) {
#ifdef __AVX512F__
    const vec estimate = (vec)_mm512_rcp14_ps((__m512)x);
    return estimate * (2.0f - x * estimate);
#else
    return 1.0f / x;
#endif
}

/* 1 / (1 + exp(-x)). 2^t is 2^n of the nearest whole n, which the addition of 1.5 * 2^23 leaves in
   the lowest bits, times a polynomial: the minimax fit of 2^f for |f| <= 1/2, within 2e-9. What is
   not a number stays so: it passes both comparisons. */
INLINE vec sigmoid(vec x) {
    const vec zero = {0};
    const float shift = 12582912.0f;
    vec t = x * -1.44269504f;
    t = choose(t > zero + 126.0f, zero + 126.0f, t);
    t = choose(t < zero - 126.0f, zero - 126.0f, t);
    const vec shifted = t + shift;
    const vec f = t - (shifted - shift);
    const vec power = (vec)(((ivec)shifted << 23) + 0x3f800000);
    vec p = f * 0.00015353362f + 0.00133988750f;
    p = p * f + 0.00961843692f;
    p = p * f + 0.05550332367f;
    p = p * f + 0.24022647738f;
    p = p * f + 0.69314718246f;
    p = p * f + 1.0f;
    return reciprocal(p * power + 1.0f);
}

INLINE vec hyperbolic_tangent(vec x) { return 2.0f * sigmoid(2.0f * x) - 1.0f; }

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t total(int64_t steps, const int64_t *sizes) {
    int64_t rows = 0;
    for (int64_t t = 0; t < steps; t++) rows += sizes[t];
    return rows;
}

/* How many of `width` units are in the vector j of a pair. */
INLINE int part(int64_t width, int j) {
    const int64_t left = width - j * LANES;
    return left >= LANES ? LANES : left > 0 ? left : 0;
}

/* Of a product's depth a lane of a panel holds TOGETHER; what it lacks to a whole multiple of DEPTH
   is zero. Rows of operands are a line of the cache further apart: a large power of two apart they
   would compete for a few places of it. */
#ifdef BFLOAT16
#define TOGETHER 2
#define DEPTH 32
#else
#define TOGETHER 1
#define DEPTH 1
#endif
static int64_t filled(int64_t depth) { return (depth + DEPTH - 1) / DEPTH * DEPTH; }
static int64_t apart(int64_t depth) { return filled(depth) + (DEPTH > 1 ? DEPTH : 0); }

/* Order a matrix for products: panels of `vectors` vectors, each all of `depth` deep. Element
   (k, j, unit) is at k * of_k + j * of_vector + unit * of_unit, k counted from `first` round; units
   from `hidden` on are zero. */
static void pack(item *panels, const item *matrix, int64_t hidden, int64_t depth, int64_t first,
                 int vectors, int64_t units_of_panel, int64_t units_of_vector, int64_t of_k,
                 int64_t of_vector, int64_t of_unit) {
    for (int64_t start = 0; start < hidden; start += units_of_panel)
        for (int64_t k = 0; k < filled(depth); k += TOGETHER) {
            const item *from[TOGETHER];
            for (int p = 0; p < TOGETHER; p++)
                from[p] = k + p < depth ? matrix + (k + p + first) % depth * of_k : 0;
            for (int j = 0; j < vectors; j++) {
                const int64_t unit = start + j * units_of_vector;
                const int64_t offset = j * of_vector + unit * of_unit;
                for (int i = 0; i < LANES; i++)
#pragma GCC unroll 2
                    for (int p = 0; p < TOGETHER; p++) {
                        const int there = unit + i < hidden && from[p];
                        *panels++ = there ? from[p][offset + i * of_unit] : 0;
                    }
            }
        }
}

/* The most items of the panels of any of these functions, and floats of all the room that it
   needs. */
static int64_t panel_items(int64_t hidden) {
    const int64_t pair = PAIR * LANES;
    return LSTM * filled(hidden) * ((hidden + pair - 1) / pair * pair);
}

int64_t room_floats(int64_t hidden) {
    const int64_t operands = apart(LSTM * hidden) + LSTM * LANES;
    return panel_items(hidden) + BLOCK * (operands + 2 * hidden);
}

#ifdef BFLOAT16

/* sums[r][j] = sum over k < depth of rows[r][k] * panel[k][j] for a tile. */
INLINE void pair_products(int tile, int vectors, int64_t depth, const item *rows, int64_t stride,
                          const item *panel, float *sums) {
    vec sum[8][LSTM];
#pragma GCC unroll 8
    for (int r = 0; r < tile; r++)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++) sum[r][j] = (vec){0};
    for (int64_t k = 0; k < depth; k += 2, panel += vectors * 2 * LANES) {
        const __m512bh *weights = (const __m512bh *)panel;
#pragma GCC unroll 8
        for (int r = 0; r < tile; r++) {
            int32_t pair;
            memcpy(&pair, rows + r * stride + k, sizeof pair);
            const __m512bh values = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 4
            for (int j = 0; j < vectors; j++)
                sum[r][j] = (vec)_mm512_dpbf16_ps((__m512)sum[r][j], weights[j], values);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < tile; r++)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++)
            store(sums + (r * vectors + j) * LANES, sum[r][j], LANES);
}

#ifdef TILES

static int has_tiles; /* whether this process may use them */

/* Give each of the CPU's tiles 16 rows of 64 bytes. */
static void set_up_tiles(void) {
    static const struct {
        uint8_t palette, first_row, unused[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shapes __attribute__((aligned(64))) = {
        .palette = 1,
        .bytes = {64, 64, 64, 64, 64, 64, 64, 64},
        .rows = {16, 16, 16, 16, 16, 16, 16, 16},
    };
    _tile_loadconfig(&shapes);
}

/* The same as `pair_products` for all rows of a block, by two or one vectors at a time. */
INLINE void tile_products(int64_t count, int vectors, int64_t depth, const item *rows,
                          int64_t stride, const item *panel, float *sums) {
    const int64_t between = 2 * stride, wide = sizeof(vec) * vectors;
    const item *lower = rows + 16 * stride;
    float *lower_sums = sums + 16 * vectors * LANES;
    const int both = count > 16;
    /* The tiles' instructions do not tell the compiler which memory they read. */
    __asm__ volatile("" ::: "memory");
#pragma GCC unroll 4
    for (int j = 0; j < vectors; j += 2) {
        const item *weights = panel + j * 2 * LANES;
        const int right = j + 1 < vectors;
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (int64_t k = 0; k < depth; k += DEPTH, weights += DEPTH * vectors * LANES) {
            _tile_loadd(4, rows + k, between);
            _tile_loadd(6, weights, wide);
            _tile_dpbf16ps(0, 4, 6);
            if (right) {
                _tile_loadd(7, weights + 2 * LANES, wide);
                _tile_dpbf16ps(1, 4, 7);
            }
            if (both) {
                _tile_loadd(5, lower + k, between);
                _tile_dpbf16ps(2, 5, 6);
                if (right) _tile_dpbf16ps(3, 5, 7);
            }
        }
        _tile_stored(0, sums + j * LANES, wide);
        if (right) _tile_stored(1, sums + (j + 1) * LANES, wide);
        if (both) {
            _tile_stored(2, lower_sums + j * LANES, wide);
            if (right) _tile_stored(3, lower_sums + (j + 1) * LANES, wide);
        }
    }
}
#endif

/* Transpose a matrix (rows, columns) whose rows are `stride` items apart: `to` (columns, rows). Two
   columns of 32 rows at a time are gathered, as pairs, which makes whole lines of the cache. */
void transpose(int64_t rows, int64_t columns, int64_t stride, const item *from, item *to) {
    const int64_t whole = rows / 32 * 32, even = columns / 2 * 2;
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i places = _mm512_mullo_epi32(lanes, _mm512_set1_epi32((int)stride));
    for (int64_t r = 0; r < whole; r += 32)
        for (int64_t c = 0; c < even; c += 2)
            for (int64_t half = r; half < r + 32; half += 16) {
                const __m512i pairs = _mm512_i32gather_epi32(places, from + half * stride + c, 2);
                __m256i *first = (__m256i *)(to + c * rows + half);
                __m256i *second = (__m256i *)(to + (c + 1) * rows + half);
                _mm256_storeu_si256(first, _mm512_cvtepi32_epi16(pairs));
                _mm256_storeu_si256(second, _mm512_cvtepi32_epi16(_mm512_srli_epi32(pairs, 16)));
            }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = r < whole ? even : 0; c < columns; c++)
            to[c * rows + r] = from[r * stride + c];
}

/* Ask for the tiles; return whether products are made in them. */
int use_tiles(void) {
#ifdef TILES
    const int request = 0x1023, tile_data = 18; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    has_tiles = syscall(SYS_arch_prctl, request, tile_data) == 0;
    return has_tiles;
#else
    return 0;
#endif
}

static void take_tiles(void) {
#ifdef TILES
    if (has_tiles) set_up_tiles();
#endif
}

static void leave_tiles(void) {
#ifdef TILES
    if (has_tiles) _tile_release();
#endif
}

/* Make the products of a block's rows with a panel: sums (BLOCK, vectors of units). */
INLINE void make_products(int64_t count, int vectors, int64_t depth, const item *rows,
                          const item *panel, float *sums) {
    const int64_t stride = apart(depth);
    if (!depth) return;
#ifdef TILES
    if (has_tiles) {
        tile_products(count, vectors, filled(depth), rows, stride, panel, sums);
        return;
    }
#endif
    const int tile = vectors == LSTM ? 4 : 8;
    for (int64_t r = 0; r < count; r += tile)
        pair_products(tile, vectors, filled(depth), rows + r * stride, stride, panel,
                      sums + r * vectors * LANES);
}

/* Add to a tile's sums what `make_products` made of them. */
INLINE void add_products(int tile, int vectors, int64_t depth, int64_t r0, const item *rows,
                         int64_t stride, const item *panel, const float *sums, vec sum[][LSTM]) {
    if (!depth) return;
#pragma GCC unroll 8
    for (int r = 0; r < tile; r++)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++)
            sum[r][j] += load(sums + ((r0 + r) * vectors + j) * LANES, LANES);
}

#else

static void take_tiles(void) {}
static void leave_tiles(void) {}

INLINE void make_products(int64_t count, int vectors, int64_t depth, const item *rows,
                          const item *panel, float *sums) {}

/* sum[r][j] += sum over k < depth of rows[r * stride + k] * panel[k][j], rows counted from r0. */
INLINE void add_products(int tile, int vectors, int64_t depth, int64_t r0, const item *rows,
                         int64_t stride, const item *panel, const float *sums, vec sum[][LSTM]) {
    rows += r0 * stride;
    for (int64_t k = 0; k < depth; k++, panel += vectors * LANES) {
        const vec *weights = (const vec *)panel;
#pragma GCC unroll 8
        for (int r = 0; r < tile; r++) {
            const float value = rows[r * stride + k];
#pragma GCC unroll 4
            for (int j = 0; j < vectors; j++) sum[r][j] += weights[j] * value;
        }
    }
}

#endif

/* Call a tile's function for `count` rows: whole tiles, then smaller ones; row by row where the
   products are made already. */
#ifdef BFLOAT16
#define FOR_TILES(count, tile) for (int64_t r = 0; r < (count); r++) tile(1, r)
#define FOR_TILES_OF_4(count, tile, r) for (; r < (count); r++) tile(1, r)
#else
#define FOR_TILES(count, tile)                                \
    do {                                                      \
        int64_t r = 0;                                        \
        for (; r + ROWS <= (count); r += ROWS) tile(ROWS, r); \
        FOR_TILES_OF_4(count, tile, r);                       \
    } while (0)

#define FOR_TILES_OF_4(count, tile, r)               \
    do {                                             \
        for (; r + 4 <= (count); r += 4) tile(4, r); \
        if (r + 2 <= (count)) {                      \
            tile(2, r);                              \
            r += 2;                                  \
        }                                            \
        if (r < (count)) tile(1, r);                 \
    } while (0)
#endif

/* What the functions for a block's part of a step have in common. */
struct step {
    int64_t hidden, stride;    /* H; floats between rows of the states, D H */
    int64_t gate_stride, delta_stride;
    const int64_t *order;      /* of the inputs' rows; none where they are read as they are */
    int64_t rows;              /* N */
    int64_t row, before, next; /* first rows of the block: of this step, the one before, and of the
                                  one that is computed next */
    int64_t depth;             /* of the recurrent product; 0 in the first step */
    const item *operands;      /* the rows that it reads, */
    int64_t operand_stride;    /* so far apart */
    item *copies;              /* of the states, for the next step's; only of bfloat16 */
    float *sums;               /* the product, of a panel; only of bfloat16 */
    float *values;             /* (BLOCK, H) of an LSTM's cells */
};

/* Set up a block: its first step reads no states. `room` is for a panel's sums, two copies of the
   block's states and an LSTM's cells. */
static void begin_block(struct step *s, float *room) {
    s->operand_stride = s->stride;
    s->values = room + BLOCK * (LSTM * LANES + apart(s->hidden));
#ifdef BFLOAT16
    s->sums = room;
    s->operand_stride = apart(s->hidden);
    item *copies = (item *)(room + BLOCK * LSTM * LANES);
    memset(copies, 0, sizeof(item) * 2 * BLOCK * s->operand_stride);
    s->operands = copies;
    s->copies = copies + BLOCK * s->operand_stride;
#endif
}

/* Go on to the next step, which reads the states of this one. */
static void go_on(struct step *s, const float *states) {
    s->before = s->row;
    s->row = s->next;
    s->depth = s->hidden;
#ifdef BFLOAT16
    item *copies = (item *)s->operands;
    s->operands = s->copies;
    s->copies = copies;
#else
    s->operands = states + s->before * s->stride;
#endif
}

INLINE void copy_state(const struct step *s, int64_t r, int64_t u, vec state, int width) {
#ifdef BFLOAT16
    store_items(s->copies + r * s->operand_stride + u, state, width);
#endif
}

/* The input's row of a row; rows behind the last, which are only fetched, have none. */
INLINE int64_t place(const struct step *s, int64_t row) {
    return s->order && row < s->rows ? s->order[row] : row;
}

INLINE void gru_forward_tile(int tile, int64_t r0, int64_t u, int width, const struct step *s,
                             const item *panel, const float *bias, item *gates, item *scaled,
                             float *states) {
    const int64_t h = s->hidden, stride = s->stride, ahead = s->next - s->row;
    const float *last = states + (s->before + r0) * stride;
    const vec of_reset = load(bias + u, width), of_update = load(bias + h + u, width);
    const vec of_new = load(bias + 2 * h + u, width), of_scaled = load(bias + 3 * h + u, width);
    vec sum[ROWS][LSTM];
#pragma GCC unroll 8
    for (int r = 0; r < tile; r++) {
        sum[r][0] = of_reset;
        sum[r][1] = of_update;
        sum[r][2] = of_scaled;
    }
    add_products(tile, GATES, s->depth, r0, s->operands, s->operand_stride, panel, s->sums, sum);
#pragma GCC unroll 8
    for (int r = 0; r < tile; r++) {
        const int64_t row = s->row + r0 + r;
        item *gate = gates + place(s, row) * s->gate_stride + u;
        const item *next_gate = gates + place(s, row + ahead) * s->gate_stride + u;
        const vec reset = sigmoid(load_items(gate, width) + sum[r][0]);
        const vec update = sigmoid(load_items(gate + h, width) + sum[r][1]);
        const vec new =
            hyperbolic_tangent(load_items(gate + 2 * h, width) + of_new + reset * sum[r][2]);
        vec state = new - update * new;
        if (s->depth) state += update * load(last + r * stride + u, width);
        for (int g = 0; g < 3; g++) FETCH(next_gate + g * h);
        FETCH(scaled + (row + ahead) * h + u);
        FETCH(states + (row + ahead) * stride + u);
        store_items(gate, reset, width);
        store_items(gate + h, update, width);
        store_items(gate + 2 * h, new, width);
        store_items(scaled + row * h + u, sum[r][2], width);
        store(states + row * stride + u, state, width);
        copy_state(s, r0 + r, u, state, width);
    }
}

/* Run the GRU. `gates` (N, D, 3H) hold the input projections of r, z, n without biases and become
   r, z, n. `matrices` (D, 3H, H); `bias` (D, 4H) has the sum of both biases for r and z, then that
   of the inputs and that of the states for n; `scaled` (D, N, H) becomes what the reset gate
   scales; `room` is for
   `room_floats(H)`. */
void gru_forward(int64_t steps, const int64_t *sizes, int64_t directions, int64_t hidden,
                 const int64_t *order, int64_t gate_stride, const item *matrices,
                 const float *bias, item *gates, item *scaled, float *states, float *room) {
    item *panels = (item *)room;
    float *products = room + panel_items(hidden);
    const int64_t rows = total(steps, sizes), stride = directions * hidden;
    take_tiles();
    for (int64_t d = 0; d < directions; d++) {
        pack(panels, matrices, hidden, hidden, 0, GATES, LANES, 0, 1, hidden * hidden, hidden);
        for (int64_t first = 0; first < sizes[0]; first += BLOCK) {
            struct step s = {.hidden = hidden, .stride = stride, .gate_stride = gate_stride,
                             .order = d ? order : 0, .rows = rows, .row = first};
            begin_block(&s, products);
            for (int64_t t = 0; t < steps && sizes[t] > first; t++) {
                s.next = s.row + sizes[t];
                const int64_t count = least(sizes[t] - first, BLOCK);
                for (int64_t u = 0; u < hidden; u += LANES) {
                    const item *panel = panels + u * GATES * filled(hidden);
                    make_products(count, GATES, s.depth, s.operands, panel, s.sums);
#define TILE(tile, r) gru_forward_tile(tile, r, u, LANES, &s, panel, bias, gates, scaled, states)
#define PART(tile, r) \
    gru_forward_tile(tile, r, u, hidden - u, &s, panel, bias, gates, scaled, states)
                    if (hidden - u >= LANES) FOR_TILES(count, TILE);
                    else FOR_TILES(count, PART);
#undef TILE
#undef PART
                }
                go_on(&s, states);
            }
        }
        matrices += 3 * hidden * hidden;
        bias += 4 * hidden;
        gates += 3 * hidden;
        scaled += rows * hidden;
        states += hidden;
    }
    leave_tiles();
}

/* Where a direction's deltas are in a row of `deltas`. With both directions those of the inputs'
   products lie side by side over the directions, and those of the recurrent product in each. */
struct columns {
    int64_t new, reset, update, scaled;
};

/* For the rows from r0 to end: few at a time, as each lies in pages of its own. `recurrent`
   (BLOCK, 3H) gets what the recurrent product takes, in the order of the columns. */
INLINE void gru_deltas(int64_t r0, int64_t end, int64_t u, int width, const struct step *s,
                       const struct columns *to, const float *gradient, const item *gates,
                       const item *scaled, const float *states, item *deltas, float *sums,
                       item *before, float *carried, item *recurrent) {
    const int64_t h = s->hidden, stride = s->stride, ahead = s->next - s->row;
    const int64_t start = to->scaled < to->reset ? to->scaled : to->reset;
    vec sum[4] = {{0}, {0}, {0}, {0}};
    for (int64_t r = r0; r < end; r++) {
        const int64_t row = s->row + r, input = place(s, row), next = place(s, row + ahead);
        const item *gate = gates + input * s->gate_stride + u, *factor = scaled + row * h + u;
        const float *incoming = gradient + row * stride + u;
        const float *last = states + (s->before + r) * stride + u;
        item *delta = deltas + input * s->delta_stride + u;
        item *operand = recurrent + r * apart(3 * h) - start + u;
        float *passed = carried + r * h + u;
        const vec reset = load_items(gate, width), update = load_items(gate + h, width);
        const vec new = load_items(gate + 2 * h, width);
        const vec previous = s->depth ? load(last, width) : (vec){0};
        const vec d_state = load(passed, width) + load(incoming, width);
        const vec kept = d_state * update;
        const vec d_new = (d_state - kept) * (1.0f - new * new);
        const vec d_reset = d_new * load_items(factor, width) * (reset - reset * reset);
        const vec d_update = (previous - new) * d_state * (update - update * update);
        const vec d_scaled = d_new * reset;
        for (int g = 0; g < 3; g++) FETCH(gates + next * s->gate_stride + u + g * h);
        const item *next_delta = deltas + next * s->delta_stride + to->reset - h + u;
        for (int g = 0; g < 4; g++) FETCH(next_delta + g * h);
        FETCH(before + next * stride + u);
        FETCH(factor + ahead * h);
        FETCH(incoming + ahead * stride);
        FETCH(last + ahead * stride);
        store(passed, kept, width);
        store_items(delta + to->new, d_new, width);
        store_items(delta + to->reset, d_reset, width);
        store_items(delta + to->update, d_update, width);
        store_items(delta + to->scaled, d_scaled, width);
        store_items(operand + to->reset, d_reset, width);
        store_items(operand + to->update, d_update, width);
        store_items(operand + to->scaled, d_scaled, width);
        store_items(before + input * stride + u, previous, width);
        sum[0] += d_new;
        sum[1] += d_reset;
        sum[2] += d_update;
        sum[3] += d_scaled;
    }
    for (int g = 0; g < 4; g++)
        store(sums + g * h + u, load(sums + g * h + u, width) + sum[g], width);
}

/* Add a tile of operands @ matrix to what is carried to the step before. */
INLINE void carry_tile(int tile, int64_t r0, int64_t u, int64_t width, int64_t hidden,
                       int64_t depth, const item *operands, const item *panel,
                       const float *products, float *carried) {
    vec sum[ROWS][LSTM];
#pragma GCC unroll 8
    for (int r = 0; r < tile; r++) sum[r][0] = sum[r][1] = (vec){0};
    add_products(tile, PAIR, depth, r0, operands, apart(depth), panel, products, sum);
#pragma GCC unroll 8
    for (int r = 0; r < tile; r++) {
        float *to = carried + (r0 + r) * hidden + u;
#pragma GCC unroll 2
        for (int j = 0; j < PAIR; j++, to += LANES)
            store(to, load(to, part(width, j)) + sum[r][j], part(width, j));
    }
}

static void carry(int64_t count, int64_t hidden, int64_t depth, const item *operands,
                  const item *panels, float *products, float *carried) {
    for (int64_t u = 0; u < hidden; u += PAIR * LANES) {
        const item *panel = panels + u * filled(depth);
        make_products(count, PAIR, depth, operands, panel, products);
#define TILE(tile, r) \
    carry_tile(tile, r, u, PAIR * LANES, hidden, depth, operands, panel, products, carried)
#define PART(tile, r) \
    carry_tile(tile, r, u, hidden - u, hidden, depth, operands, panel, products, carried)
        if (hidden - u >= PAIR * LANES) FOR_TILES(count, TILE);
        else FOR_TILES(count, PART);
#undef TILE
#undef PART
    }
}

/* Run the GRU backward. `deltas` (N, D 4H) become the gradients of the sums within n, r, z and of
   what the reset gate scales, in this order, which is reversed for the first of two directions but
   for r before z; they are added to `sums` (D, 4H), there all in this order. `before` (N, D, H)
   becomes the state before each row's step. `room` is for `room_floats(H)`. */
void gru_backward(int64_t steps, const int64_t *sizes, int64_t directions, int64_t hidden,
                  const int64_t *order, int64_t gate_stride, int64_t delta_stride,
                  const item *matrices, const float *gradient, const item *gates,
                  const item *scaled, const float *states, item *deltas, float *sums,
                  item *before, float *room) {
    const int64_t rows = total(steps, sizes), stride = directions * hidden;
    item *panels = (item *)room;
    float *products = room + panel_items(hidden), *carried = products + BLOCK * LSTM * LANES;
    item *recurrent = (item *)(carried + BLOCK * hidden);
    take_tiles();
    for (int64_t d = 0; d < directions; d++) {
        const int mirrored = directions == 2 && d == 0;
        struct columns to = {4 * d * hidden, (4 * d + 1) * hidden, (4 * d + 2) * hidden,
                             (4 * d + 3) * hidden};
        if (mirrored) to = (struct columns){3 * hidden, hidden, 2 * hidden, 0};
        pack(panels, matrices, hidden, 3 * hidden, mirrored ? 2 * hidden : 0, PAIR, PAIR * LANES,
             LANES, hidden, 0, 1);
        for (int64_t first = 0; first < sizes[0]; first += BLOCK) {
            struct step s = {.hidden = hidden, .stride = stride, .gate_stride = gate_stride,
                             .delta_stride = delta_stride, .order = d ? order : 0, .rows = rows,
                             .row = rows + first};
            memset(carried, 0, sizeof(float) * BLOCK * hidden);
            memset(recurrent, 0, sizeof(item) * BLOCK * apart(LSTM * hidden));
            for (int64_t t = steps - 1; t >= 0; t--) {
                s.row -= sizes[t];
                const int64_t count = least(sizes[t] - first, BLOCK);
                if (count <= 0) continue;
                s.before = s.next = t ? s.row - sizes[t - 1] : 0;
                s.depth = t ? hidden : 0;
                for (int64_t r = 0; r < count; r += ROWS)
                    for (int64_t u = 0; u < hidden; u += LANES) {
                        const int64_t end = least(r + ROWS, count);
                        if (hidden - u >= LANES)
                            gru_deltas(r, end, u, LANES, &s, &to, gradient, gates, scaled, states,
                                       deltas, sums, before, carried, recurrent);
                        else
                            gru_deltas(r, end, u, hidden - u, &s, &to, gradient, gates, scaled,
                                       states, deltas, sums, before, carried, recurrent);
                    }
                if (t) carry(count, hidden, 3 * hidden, recurrent, panels, products, carried);
            }
        }
        matrices += 3 * hidden * hidden;
        gradient += hidden;
        gates += 3 * hidden;
        scaled += rows * hidden;
        states += hidden;
        sums += 4 * hidden;
        before += hidden;
    }
    leave_tiles();
}

INLINE void rnn_forward_tile(int tile, int64_t r0, int64_t u, int64_t width, const struct step *s,
                             const item *panel, const float *bias, const item *gates,
                             float *states) {
    const int64_t stride = s->stride, ahead = s->next - s->row;
    vec sum[ROWS][LSTM];
#pragma GCC unroll 2
    for (int j = 0; j < PAIR; j++) {
        const vec offset = load(bias + u + j * LANES, part(width, j));
#pragma GCC unroll 8
        for (int r = 0; r < tile; r++) sum[r][j] = offset;
    }
    add_products(tile, PAIR, s->depth, r0, s->operands, s->operand_stride, panel, s->sums, sum);
#pragma GCC unroll 8
    for (int r = 0; r < tile; r++) {
        const int64_t row = s->row + r0 + r, next = place(s, row + ahead);
        const item *gate = gates + place(s, row) * stride + u;
        float *state = states + row * stride + u;
#pragma GCC unroll 2
        for (int j = 0; j < PAIR; j++) {
            const int count = part(width, j);
            const vec all = load_items(gate + j * LANES, count) + sum[r][j];
            FETCH(gates + next * stride + u + j * LANES);
            FETCH(state + ahead * stride + j * LANES);
            const vec bounded = hyperbolic_tangent(all);
            store(state + j * LANES, bounded, count);
            copy_state(s, r0 + r, u + j * LANES, bounded, count);
        }
    }
}

/* Run the RNN. `gates` (N, D, H) hold the input projections without biases; they may be the states
   themselves where D = 1. `matrices` (D, H, H); `bias` (D, H) is the sum of both; `room` is for
   `room_floats(H)`. */
void rnn_forward(int64_t steps, const int64_t *sizes, int64_t directions, int64_t hidden,
                 const int64_t *order, const item *matrices, const float *bias,
                 const item *gates, float *states, float *room) {
    item *panels = (item *)room;
    float *products = room + panel_items(hidden);
    const int64_t rows = total(steps, sizes), stride = directions * hidden;
    take_tiles();
    for (int64_t d = 0; d < directions; d++) {
        pack(panels, matrices, hidden, hidden, 0, PAIR, PAIR * LANES, LANES, 1, 0, hidden);
        for (int64_t first = 0; first < sizes[0]; first += BLOCK) {
            struct step s = {.hidden = hidden, .stride = stride, .order = d ? order : 0,
                             .rows = rows, .row = first};
            begin_block(&s, products);
            for (int64_t t = 0; t < steps && sizes[t] > first; t++) {
                s.next = s.row + sizes[t];
                const int64_t count = least(sizes[t] - first, BLOCK);
                for (int64_t u = 0; u < hidden; u += PAIR * LANES) {
                    const item *panel = panels + u * filled(hidden);
                    make_products(count, PAIR, s.depth, s.operands, panel, s.sums);
#define TILE(tile, r) rnn_forward_tile(tile, r, u, PAIR * LANES, &s, panel, bias, gates, states)
#define PART(tile, r) rnn_forward_tile(tile, r, u, hidden - u, &s, panel, bias, gates, states)
                    if (hidden - u >= PAIR * LANES) FOR_TILES(count, TILE);
                    else FOR_TILES(count, PART);
#undef TILE
#undef PART
                }
                go_on(&s, states);
            }
        }
        matrices += hidden * hidden;
        bias += hidden;
        gates += hidden;
        states += hidden;
    }
    leave_tiles();
}

INLINE void rnn_deltas(int64_t r0, int64_t end, int64_t u, int width, const struct step *s,
                       const float *gradient, const float *states, item *deltas, float *sums,
                       item *before, float *carried, item *recurrent) {
    const int64_t h = s->hidden, stride = s->stride, ahead = s->next - s->row;
    vec sum = {0};
    for (int64_t r = r0; r < end; r++) {
        const int64_t row = s->row + r, input = place(s, row), next = place(s, row + ahead);
        const float *incoming = gradient + row * stride + u;
        const float *last = states + (s->before + r) * stride + u;
        float *passed = carried + r * h + u;
        const vec state = load(states + row * stride + u, width);
        const vec d_state = load(passed, width) + load(incoming, width);
        const vec delta = d_state * (1.0f - state * state);
        FETCH(incoming + ahead * stride);
        FETCH(last + ahead * stride);
        FETCH(deltas + next * s->delta_stride + u);
        FETCH(before + next * stride + u);
        store_items(deltas + input * s->delta_stride + u, delta, width);
        store_items(recurrent + r * apart(h) + u, delta, width);
        store_items(before + input * stride + u, s->depth ? load(last, width) : (vec){0}, width);
        store(passed, (vec){0}, width);
        sum += delta;
    }
    store(sums + u, load(sums + u, width) + sum, width);
}

/* Run the RNN backward. `deltas` (N, D, H) become the gradients of the sums within tanh, and are
   added to `sums` (D, H). `before` (N, D, H) becomes the state before each row's step. `room` is
   for `room_floats(H)`. */
void rnn_backward(int64_t steps, const int64_t *sizes, int64_t directions, int64_t hidden,
                  const int64_t *order, int64_t delta_stride, const item *matrices,
                  const float *gradient, const float *states, item *deltas, float *sums,
                  item *before, float *room) {
    const int64_t rows = total(steps, sizes), stride = directions * hidden;
    item *panels = (item *)room;
    float *products = room + panel_items(hidden), *carried = products + BLOCK * LSTM * LANES;
    item *recurrent = (item *)(carried + BLOCK * hidden);
    take_tiles();
    for (int64_t d = 0; d < directions; d++) {
        pack(panels, matrices, hidden, hidden, 0, PAIR, PAIR * LANES, LANES, hidden, 0, 1);
        for (int64_t first = 0; first < sizes[0]; first += BLOCK) {
            struct step s = {.hidden = hidden, .stride = stride, .delta_stride = delta_stride,
                             .order = d ? order : 0, .rows = rows, .row = rows + first};
            memset(carried, 0, sizeof(float) * BLOCK * hidden);
            memset(recurrent, 0, sizeof(item) * BLOCK * apart(LSTM * hidden));
            for (int64_t t = steps - 1; t >= 0; t--) {
                s.row -= sizes[t];
                const int64_t count = least(sizes[t] - first, BLOCK);
                if (count <= 0) continue;
                s.before = s.next = t ? s.row - sizes[t - 1] : 0;
                s.depth = t ? hidden : 0;
                for (int64_t r = 0; r < count; r += ROWS)
                    for (int64_t u = 0; u < hidden; u += LANES) {
                        const int64_t end = least(r + ROWS, count);
                        if (hidden - u >= LANES)
                            rnn_deltas(r, end, u, LANES, &s, gradient, states, deltas, sums,
                                       before, carried, recurrent);
                        else
                            rnn_deltas(r, end, u, hidden - u, &s, gradient, states, deltas, sums,
                                       before, carried, recurrent);
                    }
                if (t) carry(count, hidden, hidden, recurrent, panels, products, carried);
            }
        }
        matrices += hidden * hidden;
        gradient += hidden;
        states += hidden;
        deltas += hidden;
        sums += hidden;
        before += hidden;
    }
    leave_tiles();
}

/* A tile of four rows: with more its sums would leave the registers. */
INLINE void lstm_forward_tile(int tile, int64_t r0, int64_t u, int width, const struct step *s,
                              const item *panel, const float *bias, item *gates, item *cells,
                              float *states) {
    const int64_t h = s->hidden, stride = s->stride, ahead = s->next - s->row;
    vec offset[LSTM], sum[4][LSTM];
#pragma GCC unroll 4
    for (int g = 0; g < LSTM; g++) offset[g] = load(bias + g * h + u, width);
#pragma GCC unroll 4
    for (int r = 0; r < tile; r++)
#pragma GCC unroll 4
        for (int g = 0; g < LSTM; g++) sum[r][g] = offset[g];
    add_products(tile, LSTM, s->depth, r0, s->operands, s->operand_stride, panel, s->sums, sum);
#pragma GCC unroll 4
    for (int r = 0; r < tile; r++) {
        const int64_t row = s->row + r0 + r;
        item *gate = gates + place(s, row) * s->gate_stride + u;
        const item *next_gate = gates + place(s, row + ahead) * s->gate_stride + u;
        float *value = s->values + (r0 + r) * h + u;
        const vec in = sigmoid(load_items(gate, width) + sum[r][0]);
        const vec forget = sigmoid(load_items(gate + h, width) + sum[r][1]);
        const vec new = hyperbolic_tangent(load_items(gate + 2 * h, width) + sum[r][2]);
        const vec out = sigmoid(load_items(gate + 3 * h, width) + sum[r][3]);
        vec cell = in * new;
        if (s->depth) cell += forget * load(value, width);
        const vec state = out * hyperbolic_tangent(cell);
        for (int g = 0; g < LSTM; g++) FETCH(next_gate + g * h);
        FETCH(cells + (row + ahead) * h + u);
        FETCH(states + (row + ahead) * stride + u);
        store_items(gate, in, width);
        store_items(gate + h, forget, width);
        store_items(gate + 2 * h, new, width);
        store_items(gate + 3 * h, out, width);
        store_items(cells + row * h + u, cell, width);
        store(value, cell, width);
        store(states + row * stride + u, state, width);
        copy_state(s, r0 + r, u, state, width);
    }
}

/* Run the LSTM. `gates` (N, D, 4H) hold the input projections of i, f, g, o without biases and
   become i, f, g, o. `matrices` (D, 4H, H); `bias` (D, 4H) is the sum of both; `cells` (D, N, H)
   become the cells' values; `room` is for `room_floats(H)`. */
void lstm_forward(int64_t steps, const int64_t *sizes, int64_t directions, int64_t hidden,
                  const int64_t *order, int64_t gate_stride, const item *matrices,
                  const float *bias, item *gates, item *cells, float *states, float *room) {
    item *panels = (item *)room;
    float *products = room + panel_items(hidden);
    const int64_t rows = total(steps, sizes), stride = directions * hidden;
    take_tiles();
    for (int64_t d = 0; d < directions; d++) {
        pack(panels, matrices, hidden, hidden, 0, LSTM, LANES, 0, 1, hidden * hidden, hidden);
        for (int64_t first = 0; first < sizes[0]; first += BLOCK) {
            struct step s = {.hidden = hidden, .stride = stride, .gate_stride = gate_stride,
                             .order = d ? order : 0, .rows = rows, .row = first};
            begin_block(&s, products);
            for (int64_t t = 0; t < steps && sizes[t] > first; t++) {
                s.next = s.row + sizes[t];
                const int64_t count = least(sizes[t] - first, BLOCK);
                for (int64_t u = 0; u < hidden; u += LANES) {
                    const item *panel = panels + u * LSTM * filled(hidden);
                    make_products(count, LSTM, s.depth, s.operands, panel, s.sums);
                    int64_t r = 0;
#define TILE(tile, r) lstm_forward_tile(tile, r, u, LANES, &s, panel, bias, gates, cells, states)
#define PART(tile, r) \
    lstm_forward_tile(tile, r, u, hidden - u, &s, panel, bias, gates, cells, states)
                    if (hidden - u >= LANES) FOR_TILES_OF_4(count, TILE, r);
                    else FOR_TILES_OF_4(count, PART, r);
#undef TILE
#undef PART
                }
                go_on(&s, states);
            }
        }
        matrices += 4 * hidden * hidden;
        bias += 4 * hidden;
        gates += 4 * hidden;
        cells += rows * hidden;
        states += hidden;
    }
    leave_tiles();
}

/* For the rows from r0 to end. `recurrent` (BLOCK, 4H) gets what the recurrent product takes,
   `carried` (BLOCK, H) is the gradient of the state from the step behind, `kept` (BLOCK, H) that of
   the cell, which becomes that of the step before. */
INLINE void lstm_deltas(int64_t r0, int64_t end, int64_t u, int width, const struct step *s,
                        const float *gradient, const item *gates, const item *cells,
                        const float *states, item *deltas, float *sums, item *before,
                        float *carried, float *kept, item *recurrent) {
    const int64_t h = s->hidden, stride = s->stride, ahead = s->next - s->row;
    vec sum[LSTM] = {{0}, {0}, {0}, {0}};
    for (int64_t r = r0; r < end; r++) {
        const int64_t row = s->row + r, input = place(s, row), next = place(s, row + ahead);
        const item *gate = gates + input * s->gate_stride + u, *value = cells + row * h + u;
        const float *incoming = gradient + row * stride + u;
        const float *last = states + (s->before + r) * stride + u;
        float *passed = carried + r * h + u, *of_cell = kept + r * h + u;
        const item *cell_before = cells + (s->before + r) * h + u;
        const vec in = load_items(gate, width), forget = load_items(gate + h, width);
        const vec new = load_items(gate + 2 * h, width), out = load_items(gate + 3 * h, width);
        const vec previous = s->depth ? load_items(cell_before, width) : (vec){0};
        const vec bounded = hyperbolic_tangent(load_items(value, width));
        const vec d_state = load(passed, width) + load(incoming, width);
        const vec d_cell = load(of_cell, width) + d_state * out * (1.0f - bounded * bounded);
        const vec delta[LSTM] = {
            d_cell * new * (in - in * in),
            d_cell * previous * (forget - forget * forget),
            d_cell * in * (1.0f - new * new),
            d_state * bounded * (out - out * out),
        };
        for (int g = 0; g < LSTM; g++) {
            FETCH(gates + next * s->gate_stride + u + g * h);
            FETCH(deltas + next * s->delta_stride + u + g * h);
        }
        FETCH(before + next * stride + u);
        FETCH(value + ahead * h);
        FETCH(incoming + ahead * stride);
        FETCH(last + ahead * stride);
        store(passed, (vec){0}, width);
        store(of_cell, d_cell * forget, width);
        store_items(before + input * stride + u, s->depth ? load(last, width) : (vec){0}, width);
#pragma GCC unroll 4
        for (int g = 0; g < LSTM; g++) {
            store_items(deltas + input * s->delta_stride + g * h + u, delta[g], width);
            store_items(recurrent + r * apart(LSTM * h) + g * h + u, delta[g], width);
            sum[g] += delta[g];
        }
    }
    for (int g = 0; g < LSTM; g++)
        store(sums + g * h + u, load(sums + g * h + u, width) + sum[g], width);
}

/* Run the LSTM backward. `deltas` (N, D, 4H) become the gradients of the sums within i, f, g, o,
   and are added to `sums` (D, 4H). `before` (N, D, H) becomes the state before each row's step.
   `room` is for `room_floats(H)`. */
void lstm_backward(int64_t steps, const int64_t *sizes, int64_t directions, int64_t hidden,
                   const int64_t *order, int64_t gate_stride, int64_t delta_stride,
                   const item *matrices, const float *gradient, const item *gates,
                   const item *cells, const float *states, item *deltas, float *sums,
                   item *before, float *room) {
    const int64_t rows = total(steps, sizes), stride = directions * hidden;
    item *panels = (item *)room;
    float *products = room + panel_items(hidden), *carried = products + BLOCK * LSTM * LANES;
    float *kept = carried + BLOCK * hidden;
    item *recurrent = (item *)(kept + BLOCK * hidden);
    take_tiles();
    for (int64_t d = 0; d < directions; d++) {
        pack(panels, matrices, hidden, LSTM * hidden, 0, PAIR, PAIR * LANES, LANES, hidden, 0, 1);
        for (int64_t first = 0; first < sizes[0]; first += BLOCK) {
            struct step s = {.hidden = hidden, .stride = stride, .gate_stride = gate_stride,
                             .delta_stride = delta_stride, .order = d ? order : 0, .rows = rows,
                             .row = rows + first};
            memset(carried, 0, sizeof(float) * 2 * BLOCK * hidden);
            memset(recurrent, 0, sizeof(item) * BLOCK * apart(LSTM * hidden));
            for (int64_t t = steps - 1; t >= 0; t--) {
                s.row -= sizes[t];
                const int64_t count = least(sizes[t] - first, BLOCK);
                if (count <= 0) continue;
                s.before = s.next = t ? s.row - sizes[t - 1] : 0;
                s.depth = t ? hidden : 0;
                for (int64_t r = 0; r < count; r += ROWS)
                    for (int64_t u = 0; u < hidden; u += LANES) {
                        const int64_t end = least(r + ROWS, count);
                        if (hidden - u >= LANES)
                            lstm_deltas(r, end, u, LANES, &s, gradient, gates, cells, states,
                                        deltas, sums, before, carried, kept, recurrent);
                        else
                            lstm_deltas(r, end, u, hidden - u, &s, gradient, gates, cells, states,
                                        deltas, sums, before, carried, kept, recurrent);
                    }
                if (t) carry(count, hidden, LSTM * hidden, recurrent, panels, products, carried);
            }
        }
        matrices += 4 * hidden * hidden;
        gradient += hidden;
        gates += 4 * hidden;
        cells += rows * hidden;
        states += hidden;
        deltas += 4 * hidden;
        sums += 4 * hidden;
        before += hidden;
    }
    leave_tiles();
}

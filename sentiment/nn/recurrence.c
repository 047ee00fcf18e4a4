/* Steps of LSTM, GRU and tanh RNN over packed rows, forward and backward, in float32, on one thread.

   The input projection and the gradients of inputs and weights are the caller's: here is what must
   go step by step. A tile of the recurrent product, ROWS sequences by a few vectors of units, stays
   in registers over the whole sum and ends with the element-wise operations of its cell. A block of
   sequences goes through all steps before the next, so its states stay in the innermost cache.

   Shapes: T steps, N rows in packed order, D directions (1 or 2), H hidden units. Arrays are
   contiguous but for `gates` and `deltas` where a stride, floats between their rows, is given.
   `sizes` (T) are the rows of each step, falling, N in all; the state before the first
   is zero. The second direction reads each sequence from its end: `order` (N) has the row of the
   input that it reads at each row. States and their gradients, (N, D, H), and what only these
   functions read are in each direction's reading order; what products with the inputs make or take
   is in the inputs' order.

   Written in the vector extensions that GCC and Clang share; the width follows from the target. */

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
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

/* Bring near what the next step reads or writes: memory is slower than the cells. */
#define FETCH(place) __builtin_prefetch(place, 1)

INLINE vec choose(ivec condition, vec yes, vec no) {
    return (vec)((condition & (ivec)yes) | (~condition & (ivec)no));
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
    return 1.0f / (p * power + 1.0f);
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

/* sum[r][j] += sum over k < depth of rows[r * stride + k] * panel[k][j] */
INLINE void multiply(int tile, int vectors, int64_t depth, const float *rows, int64_t stride,
                     const float *panel, vec sum[][LSTM]) {
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

/* Order a matrix for `multiply`: panels of `vectors` vectors, each all `depth` rows deep. Element
   (k, j, unit) is at k * of_k + j * of_vector + unit * of_unit, k counted from `first` round; units
   from `hidden` on are zero. */
static void pack(float *panels, const float *matrix, int64_t hidden, int64_t depth, int64_t first,
                 int vectors, int64_t units_of_panel, int64_t units_of_vector, int64_t of_k,
                 int64_t of_vector, int64_t of_unit) {
    for (int64_t start = 0; start < hidden; start += units_of_panel)
        for (int64_t k = 0; k < depth; k++) {
            const float *row = matrix + (k + first) % depth * of_k;
            for (int j = 0; j < vectors; j++)
                for (int i = 0; i < LANES; i++) {
                    const int64_t unit = start + j * units_of_vector + i;
                    *panels++ = unit < hidden ? row[j * of_vector + unit * of_unit] : 0.0f;
                }
        }
}

/* Floats of the panels of any of these functions, and of all the room that it needs. */
static int64_t panel_floats(int64_t hidden) {
    const int64_t pair = PAIR * LANES;
    return LSTM * hidden * ((hidden + pair - 1) / pair * pair);
}

int64_t room_floats(int64_t hidden) { return panel_floats(hidden) + 6 * BLOCK * hidden; }

/* Call a tile's function for `count` rows: whole tiles, then smaller ones. */
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

/* What the functions for a block's part of a step have in common. */
struct step {
    int64_t hidden, stride;    /* H; floats between rows of the states, D H */
    int64_t gate_stride, delta_stride;
    const int64_t *order;      /* of the inputs' rows; none where they are read as they are */
    int64_t rows;              /* N */
    int64_t row, before, next; /* first rows of the block: of this step, the one before, and of the
                                  one that is computed next */
    int64_t depth;             /* of the recurrent product; 0 in the first step */
};

/* The input's row of a row; rows behind the last, which are only fetched, have none. */
INLINE int64_t place(const struct step *s, int64_t row) {
    return s->order && row < s->rows ? s->order[row] : row;
}

INLINE void gru_forward_tile(int tile, int64_t r0, int64_t u, int width, const struct step *s,
                             const float *panel, const float *bias, float *gates, float *scaled,
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
    multiply(tile, GATES, s->depth, last, stride, panel, sum);
#pragma GCC unroll 8
    for (int r = 0; r < tile; r++) {
        const int64_t row = s->row + r0 + r;
        float *gate = gates + place(s, row) * s->gate_stride + u;
        const float *next_gate = gates + place(s, row + ahead) * s->gate_stride + u;
        const vec reset = sigmoid(load(gate, width) + sum[r][0]);
        const vec update = sigmoid(load(gate + h, width) + sum[r][1]);
        const vec new =
            hyperbolic_tangent(load(gate + 2 * h, width) + of_new + reset * sum[r][2]);
        vec state = new - update * new;
        if (s->depth) state += update * load(last + r * stride + u, width);
        for (int g = 0; g < 3; g++) FETCH(next_gate + g * h);
        FETCH(scaled + (row + ahead) * h + u);
        FETCH(states + (row + ahead) * stride + u);
        store(gate, reset, width);
        store(gate + h, update, width);
        store(gate + 2 * h, new, width);
        store(scaled + row * h + u, sum[r][2], width);
        store(states + row * stride + u, state, width);
    }
}

/* Run the GRU. `gates` (N, D, 3H) hold the input projections of r, z, n without biases and become
   r, z, n. `matrices` (D, 3H, H); `bias` (D, 4H) has the sum of both biases for r and z, then that
   of the inputs and that of the states for n; `scaled` (D, N, H) becomes what the reset gate
   scales; `room` is for
   `room_floats(H)`. */
void gru_forward(int64_t steps, const int64_t *sizes, int64_t directions, int64_t hidden,
                 const int64_t *order, int64_t gate_stride, const float *matrices,
                 const float *bias, float *gates, float *scaled, float *states, float *room) {
    float *panels = room;
    const int64_t rows = total(steps, sizes), stride = directions * hidden;
    for (int64_t d = 0; d < directions; d++) {
        pack(panels, matrices, hidden, hidden, 0, GATES, LANES, 0, 1, hidden * hidden, hidden);
        for (int64_t first = 0; first < sizes[0]; first += BLOCK) {
            struct step s = {.hidden = hidden, .stride = stride, .gate_stride = gate_stride,
                             .order = d ? order : 0, .rows = rows, .row = first};
            for (int64_t t = 0; t < steps && sizes[t] > first; t++) {
                s.next = s.row + sizes[t];
                const int64_t count = least(sizes[t] - first, BLOCK);
                for (int64_t u = 0; u < hidden; u += LANES) {
                    const float *panel = panels + u * GATES * hidden;
#define TILE(tile, r) gru_forward_tile(tile, r, u, LANES, &s, panel, bias, gates, scaled, states)
#define PART(tile, r) \
    gru_forward_tile(tile, r, u, hidden - u, &s, panel, bias, gates, scaled, states)
                    if (hidden - u >= LANES) FOR_TILES(count, TILE);
                    else FOR_TILES(count, PART);
#undef TILE
#undef PART
                }
                s.before = s.row;
                s.row = s.next;
                s.depth = hidden;
            }
        }
        matrices += 3 * hidden * hidden;
        bias += 4 * hidden;
        gates += 3 * hidden;
        scaled += rows * hidden;
        states += hidden;
    }
}

/* Where a direction's deltas are in a row of `deltas`. With both directions those of the inputs'
   products lie side by side over the directions, and those of the recurrent product in each. */
struct columns {
    int64_t new, reset, update, scaled;
};

/* For the rows from r0 to end: few at a time, as each lies in pages of its own. `recurrent`
   (BLOCK, 3H) gets what the recurrent product takes, in the order of the columns. */
INLINE void gru_deltas(int64_t r0, int64_t end, int64_t u, int width, const struct step *s,
                       const struct columns *to, const float *gradient, const float *gates,
                       const float *scaled, const float *states, float *deltas, float *sums,
                       float *before, float *carried, float *recurrent) {
    const int64_t h = s->hidden, stride = s->stride, ahead = s->next - s->row;
    const int64_t start = to->scaled < to->reset ? to->scaled : to->reset;
    vec sum[4] = {{0}, {0}, {0}, {0}};
    for (int64_t r = r0; r < end; r++) {
        const int64_t row = s->row + r, input = place(s, row), next = place(s, row + ahead);
        const float *gate = gates + input * s->gate_stride + u;
        const float *incoming = gradient + row * stride + u, *factor = scaled + row * h + u;
        const float *last = states + (s->before + r) * stride + u;
        float *delta = deltas + input * s->delta_stride + u;
        float *operand = recurrent + r * 3 * h - start + u;
        float *passed = carried + r * h + u;
        const vec reset = load(gate, width), update = load(gate + h, width);
        const vec new = load(gate + 2 * h, width);
        const vec previous = s->depth ? load(last, width) : (vec){0};
        const vec d_state = load(passed, width) + load(incoming, width);
        const vec kept = d_state * update;
        const vec d_new = (d_state - kept) * (1.0f - new * new);
        const vec d_reset = d_new * load(factor, width) * (reset - reset * reset);
        const vec d_update = (previous - new) * d_state * (update - update * update);
        const vec d_scaled = d_new * reset;
        for (int g = 0; g < 3; g++) FETCH(gates + next * s->gate_stride + u + g * h);
        const float *next_delta = deltas + next * s->delta_stride + to->reset - h + u;
        for (int g = 0; g < 4; g++) FETCH(next_delta + g * h);
        FETCH(before + next * h + u);
        FETCH(factor + ahead * h);
        FETCH(incoming + ahead * stride);
        FETCH(last + ahead * stride);
        store(passed, kept, width);
        store(delta + to->new, d_new, width);
        store(delta + to->reset, d_reset, width);
        store(delta + to->update, d_update, width);
        store(delta + to->scaled, d_scaled, width);
        store(operand + to->reset, d_reset, width);
        store(operand + to->update, d_update, width);
        store(operand + to->scaled, d_scaled, width);
        store(before + input * h + u, previous, width);
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
                       int64_t depth, const float *operands, const float *panel, float *carried) {
    vec sum[ROWS][LSTM];
#pragma GCC unroll 8
    for (int r = 0; r < tile; r++) sum[r][0] = sum[r][1] = (vec){0};
    multiply(tile, PAIR, depth, operands + r0 * depth, depth, panel, sum);
#pragma GCC unroll 8
    for (int r = 0; r < tile; r++) {
        float *to = carried + (r0 + r) * hidden + u;
#pragma GCC unroll 2
        for (int j = 0; j < PAIR; j++, to += LANES)
            store(to, load(to, part(width, j)) + sum[r][j], part(width, j));
    }
}

static void carry(int64_t count, int64_t hidden, int64_t depth, const float *operands,
                  const float *panels, float *carried) {
    for (int64_t u = 0; u < hidden; u += PAIR * LANES) {
        const float *panel = panels + u * depth;
#define TILE(tile, r) carry_tile(tile, r, u, PAIR * LANES, hidden, depth, operands, panel, carried)
#define PART(tile, r) carry_tile(tile, r, u, hidden - u, hidden, depth, operands, panel, carried)
        if (hidden - u >= PAIR * LANES) FOR_TILES(count, TILE);
        else FOR_TILES(count, PART);
#undef TILE
#undef PART
    }
}

/* Run the GRU backward. `deltas` (N, D 4H) become the gradients of the sums within n, r, z and of
   what the reset gate scales, in this order, which is reversed for the first of two directions but
   for r before z; they are added to `sums` (D, 4H), there all in this order. `before` (D, N, H)
   becomes the state before each row's step. `room` is for `room_floats(H)`. */
void gru_backward(int64_t steps, const int64_t *sizes, int64_t directions, int64_t hidden,
                  const int64_t *order, int64_t gate_stride, int64_t delta_stride,
                  const float *matrices, const float *gradient, const float *gates,
                  const float *scaled, const float *states, float *deltas, float *sums,
                  float *before, float *room) {
    const int64_t rows = total(steps, sizes), stride = directions * hidden;
    float *panels = room, *carried = room + panel_floats(hidden);
    float *recurrent = carried + BLOCK * hidden;
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
                if (t) carry(count, hidden, 3 * hidden, recurrent, panels, carried);
            }
        }
        matrices += 3 * hidden * hidden;
        gradient += hidden;
        gates += 3 * hidden;
        scaled += rows * hidden;
        states += hidden;
        sums += 4 * hidden;
        before += rows * hidden;
    }
}

INLINE void rnn_forward_tile(int tile, int64_t r0, int64_t u, int64_t width, const struct step *s,
                             const float *panel, const float *bias, const float *gates,
                             float *states) {
    const int64_t stride = s->stride, ahead = s->next - s->row;
    const float *last = states + (s->before + r0) * stride;
    vec sum[ROWS][LSTM];
#pragma GCC unroll 2
    for (int j = 0; j < PAIR; j++) {
        const vec offset = load(bias + u + j * LANES, part(width, j));
#pragma GCC unroll 8
        for (int r = 0; r < tile; r++) sum[r][j] = offset;
    }
    multiply(tile, PAIR, s->depth, last, stride, panel, sum);
#pragma GCC unroll 8
    for (int r = 0; r < tile; r++) {
        const int64_t row = s->row + r0 + r, next = place(s, row + ahead);
        const float *gate = gates + place(s, row) * stride + u;
        float *state = states + row * stride + u;
#pragma GCC unroll 2
        for (int j = 0; j < PAIR; j++) {
            const int count = part(width, j);
            const vec all = load(gate + j * LANES, count) + sum[r][j];
            FETCH(gates + next * stride + u + j * LANES);
            FETCH(state + ahead * stride + j * LANES);
            store(state + j * LANES, hyperbolic_tangent(all), count);
        }
    }
}

/* Run the RNN. `gates` (N, D, H) hold the input projections without biases; they may be the states
   themselves where D = 1. `matrices` (D, H, H); `bias` (D, H) is the sum of both; `room` is for
   `room_floats(H)`. */
void rnn_forward(int64_t steps, const int64_t *sizes, int64_t directions, int64_t hidden,
                 const int64_t *order, const float *matrices, const float *bias,
                 const float *gates, float *states, float *room) {
    float *panels = room;
    const int64_t rows = total(steps, sizes), stride = directions * hidden;
    for (int64_t d = 0; d < directions; d++) {
        pack(panels, matrices, hidden, hidden, 0, PAIR, PAIR * LANES, LANES, 1, 0, hidden);
        for (int64_t first = 0; first < sizes[0]; first += BLOCK) {
            struct step s = {.hidden = hidden, .stride = stride, .order = d ? order : 0,
                             .rows = rows, .row = first};
            for (int64_t t = 0; t < steps && sizes[t] > first; t++) {
                s.next = s.row + sizes[t];
                const int64_t count = least(sizes[t] - first, BLOCK);
                for (int64_t u = 0; u < hidden; u += PAIR * LANES) {
                    const float *panel = panels + u * hidden;
#define TILE(tile, r) rnn_forward_tile(tile, r, u, PAIR * LANES, &s, panel, bias, gates, states)
#define PART(tile, r) rnn_forward_tile(tile, r, u, hidden - u, &s, panel, bias, gates, states)
                    if (hidden - u >= PAIR * LANES) FOR_TILES(count, TILE);
                    else FOR_TILES(count, PART);
#undef TILE
#undef PART
                }
                s.before = s.row;
                s.row = s.next;
                s.depth = hidden;
            }
        }
        matrices += hidden * hidden;
        bias += hidden;
        gates += hidden;
        states += hidden;
    }
}

INLINE void rnn_deltas(int64_t r0, int64_t end, int64_t u, int width, const struct step *s,
                       const float *gradient, const float *states, float *deltas, float *sums,
                       float *before, float *carried, float *recurrent) {
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
        FETCH(before + next * h + u);
        store(deltas + input * s->delta_stride + u, delta, width);
        store(recurrent + r * h + u, delta, width);
        store(before + input * h + u, s->depth ? load(last, width) : (vec){0}, width);
        store(passed, (vec){0}, width);
        sum += delta;
    }
    store(sums + u, load(sums + u, width) + sum, width);
}

/* Run the RNN backward. `deltas` (N, D, H) become the gradients of the sums within tanh, and are
   added to `sums` (D, H). `before` (D, N, H) becomes the state before each row's step. `room` is
   for `room_floats(H)`. */
void rnn_backward(int64_t steps, const int64_t *sizes, int64_t directions, int64_t hidden,
                  const int64_t *order, int64_t delta_stride, const float *matrices,
                  const float *gradient, const float *states, float *deltas, float *sums,
                  float *before, float *room) {
    const int64_t rows = total(steps, sizes), stride = directions * hidden;
    float *panels = room, *carried = room + panel_floats(hidden);
    float *recurrent = carried + BLOCK * hidden;
    for (int64_t d = 0; d < directions; d++) {
        pack(panels, matrices, hidden, hidden, 0, PAIR, PAIR * LANES, LANES, hidden, 0, 1);
        for (int64_t first = 0; first < sizes[0]; first += BLOCK) {
            struct step s = {.hidden = hidden, .stride = stride, .delta_stride = delta_stride,
                             .order = d ? order : 0, .rows = rows, .row = rows + first};
            memset(carried, 0, sizeof(float) * BLOCK * hidden);
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
                if (t) carry(count, hidden, hidden, recurrent, panels, carried);
            }
        }
        matrices += hidden * hidden;
        gradient += hidden;
        states += hidden;
        deltas += hidden;
        sums += hidden;
        before += rows * hidden;
    }
}

/* A tile of four rows: with more its sums would leave the registers. */
INLINE void lstm_forward_tile(int tile, int64_t r0, int64_t u, int width, const struct step *s,
                              const float *panel, const float *bias, float *gates, float *cells,
                              float *states) {
    const int64_t h = s->hidden, stride = s->stride, ahead = s->next - s->row;
    const float *last = states + (s->before + r0) * stride;
    vec offset[LSTM], sum[4][LSTM];
#pragma GCC unroll 4
    for (int g = 0; g < LSTM; g++) offset[g] = load(bias + g * h + u, width);
#pragma GCC unroll 4
    for (int r = 0; r < tile; r++)
#pragma GCC unroll 4
        for (int g = 0; g < LSTM; g++) sum[r][g] = offset[g];
    multiply(tile, LSTM, s->depth, last, stride, panel, sum);
#pragma GCC unroll 4
    for (int r = 0; r < tile; r++) {
        const int64_t row = s->row + r0 + r;
        float *gate = gates + place(s, row) * s->gate_stride + u;
        const float *next_gate = gates + place(s, row + ahead) * s->gate_stride + u;
        const vec in = sigmoid(load(gate, width) + sum[r][0]);
        const vec forget = sigmoid(load(gate + h, width) + sum[r][1]);
        const vec new = hyperbolic_tangent(load(gate + 2 * h, width) + sum[r][2]);
        const vec out = sigmoid(load(gate + 3 * h, width) + sum[r][3]);
        vec cell = in * new;
        if (s->depth) cell += forget * load(cells + (s->before + r0 + r) * h + u, width);
        for (int g = 0; g < LSTM; g++) FETCH(next_gate + g * h);
        FETCH(cells + (row + ahead) * h + u);
        FETCH(states + (row + ahead) * stride + u);
        store(gate, in, width);
        store(gate + h, forget, width);
        store(gate + 2 * h, new, width);
        store(gate + 3 * h, out, width);
        store(cells + row * h + u, cell, width);
        store(states + row * stride + u, out * hyperbolic_tangent(cell), width);
    }
}

/* Run the LSTM. `gates` (N, D, 4H) hold the input projections of i, f, g, o without biases and
   become i, f, g, o. `matrices` (D, 4H, H); `bias` (D, 4H) is the sum of both; `cells` (D, N, H)
   become the cells' values; `room` is for `room_floats(H)`. */
void lstm_forward(int64_t steps, const int64_t *sizes, int64_t directions, int64_t hidden,
                  const int64_t *order, int64_t gate_stride, const float *matrices,
                  const float *bias, float *gates, float *cells, float *states, float *room) {
    float *panels = room;
    const int64_t rows = total(steps, sizes), stride = directions * hidden;
    for (int64_t d = 0; d < directions; d++) {
        pack(panels, matrices, hidden, hidden, 0, LSTM, LANES, 0, 1, hidden * hidden, hidden);
        for (int64_t first = 0; first < sizes[0]; first += BLOCK) {
            struct step s = {.hidden = hidden, .stride = stride, .gate_stride = gate_stride,
                             .order = d ? order : 0, .rows = rows, .row = first};
            for (int64_t t = 0; t < steps && sizes[t] > first; t++) {
                s.next = s.row + sizes[t];
                const int64_t count = least(sizes[t] - first, BLOCK);
                for (int64_t u = 0; u < hidden; u += LANES) {
                    const float *panel = panels + u * LSTM * hidden;
                    int64_t r = 0;
#define TILE(tile, r) lstm_forward_tile(tile, r, u, LANES, &s, panel, bias, gates, cells, states)
#define PART(tile, r) \
    lstm_forward_tile(tile, r, u, hidden - u, &s, panel, bias, gates, cells, states)
                    if (hidden - u >= LANES) FOR_TILES_OF_4(count, TILE, r);
                    else FOR_TILES_OF_4(count, PART, r);
#undef TILE
#undef PART
                }
                s.before = s.row;
                s.row = s.next;
                s.depth = hidden;
            }
        }
        matrices += 4 * hidden * hidden;
        bias += 4 * hidden;
        gates += 4 * hidden;
        cells += rows * hidden;
        states += hidden;
    }
}

/* For the rows from r0 to end. `recurrent` (BLOCK, 4H) gets what the recurrent product takes,
   `carried` (BLOCK, H) is the gradient of the state from the step behind, `kept` (BLOCK, H) that of
   the cell, which becomes that of the step before. */
INLINE void lstm_deltas(int64_t r0, int64_t end, int64_t u, int width, const struct step *s,
                        const float *gradient, const float *gates, const float *cells,
                        const float *states, float *deltas, float *sums, float *before,
                        float *carried, float *kept, float *recurrent) {
    const int64_t h = s->hidden, stride = s->stride, ahead = s->next - s->row;
    vec sum[LSTM] = {{0}, {0}, {0}, {0}};
    for (int64_t r = r0; r < end; r++) {
        const int64_t row = s->row + r, input = place(s, row), next = place(s, row + ahead);
        const float *gate = gates + input * s->gate_stride + u;
        const float *incoming = gradient + row * stride + u, *value = cells + row * h + u;
        const float *last = states + (s->before + r) * stride + u;
        float *passed = carried + r * h + u, *of_cell = kept + r * h + u;
        const vec in = load(gate, width), forget = load(gate + h, width);
        const vec new = load(gate + 2 * h, width), out = load(gate + 3 * h, width);
        const vec previous = s->depth ? load(cells + (s->before + r) * h + u, width) : (vec){0};
        const vec bounded = hyperbolic_tangent(load(value, width));
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
        FETCH(before + next * h + u);
        FETCH(value + ahead * h);
        FETCH(incoming + ahead * stride);
        FETCH(last + ahead * stride);
        store(passed, (vec){0}, width);
        store(of_cell, d_cell * forget, width);
        store(before + input * h + u, s->depth ? load(last, width) : (vec){0}, width);
#pragma GCC unroll 4
        for (int g = 0; g < LSTM; g++) {
            store(deltas + input * s->delta_stride + g * h + u, delta[g], width);
            store(recurrent + (r * LSTM + g) * h + u, delta[g], width);
            sum[g] += delta[g];
        }
    }
    for (int g = 0; g < LSTM; g++)
        store(sums + g * h + u, load(sums + g * h + u, width) + sum[g], width);
}

/* Run the LSTM backward. `deltas` (N, D, 4H) become the gradients of the sums within i, f, g, o, and
   are added to `sums` (D, 4H). `before` (D, N, H) becomes the state before each row's step. `room`
   is for `room_floats(H)`. */
void lstm_backward(int64_t steps, const int64_t *sizes, int64_t directions, int64_t hidden,
                   const int64_t *order, int64_t gate_stride, int64_t delta_stride,
                   const float *matrices, const float *gradient, const float *gates,
                   const float *cells, const float *states, float *deltas, float *sums,
                   float *before, float *room) {
    const int64_t rows = total(steps, sizes), stride = directions * hidden;
    float *panels = room, *carried = room + panel_floats(hidden);
    float *kept = carried + BLOCK * hidden, *recurrent = kept + BLOCK * hidden;
    for (int64_t d = 0; d < directions; d++) {
        pack(panels, matrices, hidden, LSTM * hidden, 0, PAIR, PAIR * LANES, LANES, hidden, 0, 1);
        for (int64_t first = 0; first < sizes[0]; first += BLOCK) {
            struct step s = {.hidden = hidden, .stride = stride, .gate_stride = gate_stride,
                             .delta_stride = delta_stride, .order = d ? order : 0, .rows = rows,
                             .row = rows + first};
            memset(carried, 0, sizeof(float) * 2 * BLOCK * hidden);
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
                if (t) carry(count, hidden, LSTM * hidden, recurrent, panels, carried);
            }
        }
        matrices += 4 * hidden * hidden;
        gradient += hidden;
        gates += 4 * hidden;
        cells += rows * hidden;
        states += hidden;
        deltas += 4 * hidden;
        sums += 4 * hidden;
        before += rows * hidden;
    }
}

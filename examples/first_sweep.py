"""A small sweep from Python, its leaderboard, and an answer of its best model.

    python examples/first_sweep.py

It writes to the current folder, as `python -m sweeps.launch` does: `mlflow.db`, `mlruns/` and
`.sweeps/`. The two best settings of the search train once more, beside a branch of n-grams.
"""

import sweeps

if __name__ == "__main__":
    result = sweeps.run(
        dataset="rotten-tomatoes",
        trials=4,
        max_epochs=1,
        overrides={"embedding": "glove"},
        finalists=2,
    )

    columns = ["rank", "trial", "best/valid/accuracy", "cell", "hidden_dim", "optimizer"]
    print(result.to_frame()[columns].to_string(index=False))

    best = result.best
    print(f"best: {best.name}, test accuracy {best.metrics['test/accuracy']:.4f}")

    model = result.load()
    for prediction in model.predict(["This film is great", "A dull, endless mess"]):
        print(prediction.label, f"{prediction.probability:.2f}")

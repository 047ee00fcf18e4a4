"""What to try next: Optuna behind Ray, samplers, successive halving, the study and its database."""

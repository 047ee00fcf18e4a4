"""Language models trained on texts without their labels, from which a classifier starts."""

"""A saved model scored on texts: which texts, what is printed, the file of predictions."""

"""From a name or a file to batches: data sets, splits, tokens, vocabularies, packed layouts."""

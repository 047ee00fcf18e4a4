"""The pictures of the record that `docs/` shows, and the browser that takes them."""

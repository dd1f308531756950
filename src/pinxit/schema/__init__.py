"""The lowest layer: the request, the record, the events, the errors and the registry. No torch."""

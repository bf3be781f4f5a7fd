"""Raw FlashInfer trace dumps to valid definitions, or a named refusal."""

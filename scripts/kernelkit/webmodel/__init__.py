"""A model's entry of FlashInfer-Bench's web interface: hierarchy, definitions, TypeScript."""

"""What travels between processes: frames, messages, and the model's values in them. See docs/protocol.md."""

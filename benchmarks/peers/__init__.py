"""Other people's validators beside ours, on the same files: sound ones, and ones with a planted fault."""

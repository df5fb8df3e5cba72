"""What tests share: servers, answers, and models to move."""

//! A fake GitLab, throw-away repositories and a fake session for tests

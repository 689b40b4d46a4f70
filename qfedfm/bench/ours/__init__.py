"""The library's own side of each case: small programs that go through its public interface."""

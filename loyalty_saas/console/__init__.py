"""The provider's pages on the platform host: clients by trouble, their figures, and a way to add one."""

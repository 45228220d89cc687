"""The addresses of the API: on a client's host, and on the platform's."""

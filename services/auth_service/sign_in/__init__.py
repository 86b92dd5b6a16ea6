"""The sign-in page: pages and forms by which people sign in, see who they are, and sign out."""

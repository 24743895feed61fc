"""What schemathesis has no setting for."""
from schemathesis.specs.openapi import checks

# With more routes than invalid tokens a minute, some requests that have to be refused get 429.
checks.AUTH_REJECTION_STATUSES = (*checks.AUTH_REJECTION_STATUSES, 429)

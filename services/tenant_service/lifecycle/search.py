"""What the operators' list finds a tenant by: the beginning of its names and of each word in them.

Words stand folded in the tenant's own row, in the order in which Postgres' text search looks them up by an
index. Neither its dictionaries nor its parser are used, because names are no language.
"""

from mis_accounts.search_terms import folded, search_terms
from mis_tenancy.tables import TenantRow

_MOST_WORDS = 8


def vector_of(row: TenantRow) -> str:
    """Return the words that find the tenant, as the text of a tsvector."""
    terms = search_terms(row.slug, row.name)
    for name in (row.slug, row.subdomain, row.domain):
        if name is not None:
            terms |= search_terms(name, name)
    return " ".join(_quoted(term) for term in sorted(terms))


def query_of(text: str) -> str | None:
    """Return what finds tenants by the beginnings in `text`, as a tsquery; None where it names none."""
    words = folded(text).split()[:_MOST_WORDS]
    return " & ".join(f"{_quoted(word)}:*" for word in words) or None


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"

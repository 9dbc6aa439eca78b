"""`python -m tests.documents`, or `make docs`: write the pages that are made from the code."""

from tests.documents.generated import PAGES

if __name__ == "__main__":
    for path, text in PAGES.items():
        path.write_text(text())

from __future__ import annotations

import re

import pytest

from diagnostics.engine import CHECKS


def test_lists_every_check(text, db):
    page = text("/checks")
    assert all(f'href="/checks/{check_id}"' in page for check_id in CHECKS)


@pytest.mark.parametrize("check_id", CHECKS)
def test_every_check_has_its_page(text, check_id):
    page = text(f"/checks/{check_id}")
    assert "<h1>" in page
    assert "<h2>How to fix it</h2>" in page


@pytest.mark.parametrize("path", ["/thresholds", "/checks/overfitting"])
def test_links_of_the_documentation_lead_to_pages(as_alice, path):
    links = set(re.findall(r'<a href="(/(?:checks/|thresholds)[^"]*)"', as_alice.get(path).content.decode()))
    assert links and {as_alice.get(link).status_code for link in links} == {200}
    assert ".md" not in as_alice.get(path).content.decode()


def test_the_api_page_names_the_endpoints_of_the_guide(text, db):
    page = text("/api/docs")
    assert "/diagnostics/sessions/{" in page
    assert "/api/sessions" in page


def test_signing_in_leads_to_the_projects(client, alice):
    answer = client.post("/accounts/login", {"username": "alice", "password": "alice has a password"})
    assert answer["Location"] == "/"


def test_a_wrong_password_is_said(client, alice):
    answer = client.post("/accounts/login", {"username": "alice", "password": "wrong"})
    assert "Please enter a correct username" in answer.content.decode()

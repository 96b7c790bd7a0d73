#!/bin/sh
# Sees to it that the page tests find a Chromium: $CHROMIUM, one on PATH, Debian's, or Playwright's own download.
set -u

found() {
    [ -n "${CHROMIUM:-}" ] && [ -x "$CHROMIUM" ] && return 0
    for name in chromium chromium-browser google-chrome; do
        command -v "$name" >/dev/null && return 0
    done
    ls "$HOME"/.cache/ms-playwright/chromium-*/ >/dev/null 2>&1
}

found && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Chromium with apt-get ..."
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
fi
found && exit 0
echo "Installing Chromium with Playwright ..."
"${PYTHON:-python3}" -m playwright install chromium
found && exit 0
if [ -n "${MLDIAG_ALLOW_NO_BROWSER:-}" ]; then
    echo "WARNING: no Chromium here; the page tests in a browser will be skipped (and counted)." >&2
    exit 0
fi
echo "No Chromium found. Install one (apt-get install chromium, or: python -m playwright install chromium)," >&2
echo "name it by CHROMIUM=/path/to/chromium, or skip the browser tests with MLDIAG_ALLOW_NO_BROWSER=1." >&2
exit 1

// What every page has: the theme that is remembered, buttons that copy, links that unfold.

const THEMES = ["automatic", "light", "dark"];
const YEAR = 31_536_000;

function wireTheme(button) {
    const root = document.documentElement;
    const say = (theme) => (button.textContent = `Theme: ${theme}`);
    say(root.dataset.theme ?? THEMES[0]);
    button.hidden = false;
    button.addEventListener("click", () => {
        const theme = THEMES[(THEMES.indexOf(root.dataset.theme ?? THEMES[0]) + 1) % THEMES.length];
        if (theme === THEMES[0]) delete root.dataset.theme;
        else root.dataset.theme = theme;
        // A cookie, so that the server writes the next page in the right colors from its first byte.
        document.cookie = `mldiag_theme=${theme}; path=/; max-age=${YEAR}; samesite=lax`;
        say(theme);
        document.dispatchEvent(new Event("theme"));
    });
}

function wireCopy(button) {
    button.hidden = false;
    button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent.trimEnd());
        button.textContent = "Copied";
        setTimeout(() => (button.textContent = "Copy"), 1500);
    });
}

/** A link to something folded opens it. */
function unfoldTarget() {
    const target = document.getElementById(location.hash.slice(1));
    if (target instanceof HTMLDetailsElement) target.open = true;
}

wireTheme(document.getElementById("theme"));
// Browsers offer the clipboard on https and on this machine only.
function wireCopies(part) {
    if (navigator.clipboard) part.querySelectorAll(".copy[hidden]").forEach(wireCopy);
}
wireCopies(document);
// What is swapped in later has buttons, too.
document.addEventListener("htmx:load", (event) => wireCopies(event.target));
document.addEventListener("fresh", (event) => wireCopies(event.target));
addEventListener("hashchange", unfoldTarget);
unfoldTarget();

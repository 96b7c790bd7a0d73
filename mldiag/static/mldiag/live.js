// A page that follows along: alerts as they happen, and its parts as they are now, without loading it again.
// The news come over a WebSocket; where none comes through, the page asks every few seconds.

import { keep, restore, show } from "./alerts.js";

const POLL = 5_000;
const LONGEST_WAIT = 30_000;
const SHORTEST_PAUSE = 1_500;

const place = document.getElementById("live");
const words = place.querySelector(".live-words");

let after = restore() ?? place.dataset.after;
let floor = after === "" ? null : Number(after);
let before = null;
let isAnswered = false;
let wait = 1_000;
let poll = null;

function say(text, kind) {
    if (words.textContent !== text) words.textContent = text;
    place.dataset.kind = kind;
    place.hidden = false;
}

function hear(news) {
    // A project's news overlap: what was there before the page is no news.
    floor ??= news.seq;
    show(news.alerts.filter((alert) => alert.seq > floor));
    after = Math.max(news.seq, Number(after));
    // A project's page has more to show than its state says: it looks at every ring.
    const state = JSON.stringify(news.state);
    if (before !== null && (before !== state || "running" in news.state)) refresh();
    before = state;
}

// Parts of the page

let isRefreshing = false, isStale = false, refreshedAt = 0;

/** Bring the parts that follow along up to date, at most every `SHORTEST_PAUSE`, and not under the reader's eyes. */
async function refresh() {
    isStale = true;
    // A page that nobody sees costs the server as much as one that somebody reads.
    if (isRefreshing || document.hidden) return;
    isRefreshing = true;
    while (isStale) {
        const pause = refreshedAt + SHORTEST_PAUSE - Date.now();
        if (pause > 0) await new Promise((done) => setTimeout(done, pause));
        isStale = false;
        refreshedAt = Date.now();
        const address = location.href;
        const answer = await fetch(address, { headers: { "X-Live": "1" } }).catch(() => null);
        if (answer?.ok && address === location.href) replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
    }
    isRefreshing = false;
}

function isInUse(region) {
    const selection = getSelection();
    const isFilledIn = [...region.querySelectorAll("input:not([type=hidden], [type=checkbox]), textarea")]
        .some((each) => each.value !== each.defaultValue);
    return isFilledIn || region.contains(document.activeElement) || region.querySelector("input:checked:not([type=radio])")
        || (!selection.isCollapsed && region.contains(selection.anchorNode));
}

function replace(fresh) {
    const regions = [...document.querySelectorAll("[data-live]")];
    const others = [...fresh.querySelectorAll("[data-live]")];
    // What was not there when the page was loaded (its first chart, say) comes with its scripts.
    const names = (all) => all.map((region) => region.id).join();
    if (names(regions) !== names(others) || Boolean(document.getElementById("chart")) !== Boolean(fresh.getElementById("chart"))) {
        if (document.querySelector("input:focus, textarea:focus, select:focus")) return;
        keep(after);
        location.reload();
        return;
    }
    const markers = fresh.getElementById("markers");
    if (markers) document.getElementById("markers").textContent = markers.textContent;
    for (const region of regions) {
        const other = fresh.getElementById(region.id);
        if (other.innerHTML === region.dataset.source || isInUse(region)) continue;
        for (const folded of region.querySelectorAll("details")) {
            const twin = twinOf(folded, other);
            if (twin) twin.open = folded.open;
        }
        region.dataset.source = other.innerHTML;
        region.replaceChildren(...other.childNodes);
        region.dispatchEvent(new Event("fresh", { bubbles: true }));
        window.htmx?.process(region);
    }
    document.dispatchEvent(new Event("news"));
}

/** The same folded part in the new page, by its id or by its heading: ids of issues are new with each diagnosis. */
function twinOf(folded, other) {
    const name = (each) => each.querySelector("summary")?.textContent.trim();
    return [...other.querySelectorAll("details")].find((each) => name(each) === name(folded));
}

// The connection

function connect() {
    const address = new URL(place.dataset.socket, location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    address.searchParams.set("after", after);
    let socket;
    try {
        socket = new WebSocket(address);
    } catch {
        return startPolling();
    }
    socket.addEventListener("message", (event) => {
        isAnswered = true;
        wait = 1_000;
        stopPolling();
        say("Live", "live");
        hear(JSON.parse(event.data));
    });
    socket.addEventListener("close", (event) => {
        if (event.code === 4404) return say("This page is no longer yours to follow.", "off");
        if (isAnswered) say("Reconnecting…", "waiting");
        // What a proxy swallows never opens: then the page asks, and tries the socket now and then.
        else startPolling();
        wait = Math.min(LONGEST_WAIT, wait * 2);
        setTimeout(connect, wait * (0.75 + Math.random() / 2));
        isAnswered = false;
    });
}

function startPolling() {
    if (poll) return;
    say(`Looking every ${POLL / 1000} s`, "polling");
    const ask = async () => {
        if (document.hidden) return;
        const answer = await fetch(`${place.dataset.news}?after=${after}`).catch(() => null);
        if (answer?.ok) hear(await answer.json());
    };
    poll = setInterval(ask, POLL);
    ask();
}

function stopPolling() {
    clearInterval(poll);
    poll = null;
}

document.addEventListener("visibilitychange", () => {
    if (isStale) refresh();
});
for (const region of document.querySelectorAll("[data-live]")) region.dataset.source = region.innerHTML;
connect();

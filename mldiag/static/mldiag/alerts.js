// The alerts of a page that follows along: a list, how many were not seen yet in the title, and on critical ones a
// notification of the browser, if somebody asked for it.

const KEPT = 100;
const NAMED = 3;
const HURRIES = { critical: "Critical", warning: "Warning", info: "Ended" };
const OVER_A_RELOAD = `alerts of ${location.pathname}`;

const place = document.getElementById("live");
const list = document.getElementById("alerts");
const panel = list.closest("section");
const counted = document.getElementById("alerts-count");
const all = document.getElementById("alerts-dismiss");
const spoken = document.getElementById("alerts-spoken");
const title = document.title;
const seen = new Set();

let unseen = 0;
let critical = [];
let notification = null;

/** Show those alerts that the page does not show yet, the oldest first as they come. */
export function show(alerts) {
    const fresh = alerts.filter((alert) => !seen.has(alert.seq));
    if (!fresh.length) return;
    enter(fresh);
    // One sentence for many: whoever listens must not have to hear them all.
    spoken.textContent = fresh.length > 1 ? `${fresh.length} new alerts` : text(fresh[0]);
    if (!isAway()) return;
    unseen += fresh.filter((alert) => alert.severity !== "info").length;
    badge();
    notify(fresh.filter((alert) => alert.severity === "critical"));
}

/** Have the alerts of this page, up to number `after`, stand there again when it is loaded anew by itself. */
export function keep(after) {
    const alerts = [...list.children].map((item) => item.alert).reverse();
    try {
        sessionStorage.setItem(OVER_A_RELOAD, JSON.stringify({ alerts, unseen, after }));
    } catch {
        // A browser that stores nothing: the page itself shows what they are about.
    }
}

/** Take up what `keep` kept. Returns the number up to which the page has heard of alerts, null if nothing was kept. */
export function restore() {
    let kept = null;
    try {
        kept = JSON.parse(sessionStorage.getItem(OVER_A_RELOAD));
        sessionStorage.removeItem(OVER_A_RELOAD);
    } catch {
        return null;
    }
    if (kept === null) return null;
    enter(kept.alerts);
    unseen = isAway() ? kept.unseen : 0;
    badge();
    return kept.after;
}

function enter(alerts) {
    for (const alert of alerts) {
        seen.add(alert.seq);
        list.prepend(row(alert));
    }
    while (list.children.length > KEPT) list.lastElementChild.remove();
    count();
}

function row(alert) {
    const item = part("li", "alert");
    item.alert = alert;
    const link = part("a", "", text(alert));
    const close = part("button", "quiet", "Dismiss");
    const isHere = location.pathname === alert.session.url;
    link.href = isHere ? (alert.check_id ? "#issues" : "#main") : alert.session.url;
    close.type = "button";
    close.setAttribute("aria-label", `Dismiss: ${alert.title}`);
    close.addEventListener("click", () => dismiss(item));
    const details = [isHere ? "" : alert.session.name, alert.epoch == null ? "" : `epoch ${alert.epoch}`];
    item.append(part("span", `severity-${alert.severity}`, HURRIES[alert.severity] ?? ""), link,
        part("span", "muted", details.filter(Boolean).join(" · ")), part("span", "spacer"), close);
    return item;
}

function part(tag, className, words = "") {
    const made = document.createElement(tag);
    made.className = className;
    made.textContent = words;
    return made;
}

function text(alert) {
    return `${alert.title}${alert.where ? ` in ${alert.where}` : ""}`;
}

function count() {
    const number = list.children.length;
    counted.textContent = number > 1 ? `${number}${number === KEPT ? " latest" : ""} alerts` : "";
    all.hidden = number < 2;
    panel.hidden = !number;
}

function dismiss(item) {
    const next = item.nextElementSibling ?? item.previousElementSibling;
    item.remove();
    count();
    // Where the keyboard is must not depend on what is gone.
    (next?.querySelector("button") ?? document.getElementById("main")).focus();
}

// While somebody is away

function isAway() {
    return document.hidden || !document.hasFocus();
}

function badge() {
    document.title = unseen ? `(${unseen}) ${title}` : title;
}

/** One notification for all critical alerts since somebody looked: twenty at once are no help. */
function notify(alerts) {
    if (!alerts.length || window.Notification?.permission !== "granted") return;
    critical.push(...alerts);
    const headline = critical.length > 1 ? `${critical.length} critical alerts` : text(critical[0]);
    const lines = critical.slice(-NAMED).map((alert) => `${alert.session.name}: ${text(alert)}`);
    const options = { body: lines.join("\n"), tag: `mldiag ${place.dataset.socket}`, renotify: true };
    try {
        notification = new Notification(headline, options);
    } catch {
        // Phones have them for service workers only.
        return;
    }
    notification.addEventListener("click", () => window.focus());
}

function lookUp() {
    if (isAway()) return;
    unseen = 0;
    critical = [];
    notification?.close();
    notification = null;
    badge();
}

function offerNotifications() {
    const button = place.querySelector("button");
    if (window.Notification?.permission !== "default") return;
    button.hidden = false;
    button.addEventListener("click", async () => {
        const answer = await Notification.requestPermission();
        button.textContent = answer === "granted" ? "Notifications are on" : "Notifications are blocked by the browser";
        button.disabled = true;
    });
}

document.addEventListener("visibilitychange", lookUp);
window.addEventListener("focus", lookUp);
all.addEventListener("click", () => {
    list.replaceChildren();
    count();
    document.getElementById("main").focus();
});
offerNotifications();

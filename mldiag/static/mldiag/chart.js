// The large chart of a session. What the server drew stays until this has something better.

const HEIGHT = 300;
const COLORS = ["train", "val", "line-3", "line-4", "line-5", "line-6", "line-7", "line-8"];
const DASHES = [[], [6, 4], [2, 3], [8, 3, 2, 3], [], [6, 4], [2, 3], [8, 3, 2, 3]];
const WHOLE = [0, 1, 2, 3, 4, 5, 6, 7, 8].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power));
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/** The color that a custom property has in the current theme, in a form that a canvas knows. */
function color(name) {
    const probe = document.createElement("span");
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
}

function format(value) {
    if (value == null) return "–";
    const size = Math.abs(value);
    return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

function duration(seconds) {
    const [size, unit] = UNITS.find(([size]) => Math.abs(seconds) >= size) ?? UNITS.at(-1);
    return `${Number((seconds / size).toPrecision(3))} ${unit}`;
}

/** An exponential moving average that starts without a pull towards zero; gaps stay gaps. */
function smoothed(values, weight) {
    let sum = 0, norm = 0;
    return values.map((value) => {
        if (value == null) return null;
        sum = weight * sum + (1 - weight) * value;
        norm = weight * norm + (1 - weight);
        return sum / norm;
    });
}

/** Crosses at the foot of the chart where a number was NaN or infinite. */
function crosses(places) {
    return ({ ctx: context, bbox: box, valToPos }) => {
        const arm = 3.5 * devicePixelRatio, y = box.top + box.height - 2 * arm;
        context.save();
        context.strokeStyle = color("critical");
        context.lineWidth = 1.5 * devicePixelRatio;
        context.beginPath();
        for (const x of places.map((place) => valToPos(place, "x", true))) {
            if (!(x >= box.left && x <= box.left + box.width)) continue;
            context.moveTo(x - arm, y - arm);
            context.lineTo(x + arm, y + arm);
            context.moveTo(x - arm, y + arm);
            context.lineTo(x + arm, y - arm);
        }
        context.stroke();
        context.restore();
    };
}

/** Where an epoch is on the axis: where its first point is, or the next one that thinning left. */
function placeOf(epoch, data) {
    if (data.axis === "epoch") return epoch;
    const index = data.epoch.findIndex((each) => each >= epoch);
    return index < 0 ? NaN : data.x[index];
}

function part(tag, className, text = "") {
    const made = document.createElement(tag);
    made.className = className;
    made.textContent = text;
    return made;
}

/** Links over the chart, one at each epoch that has issues: hovering tells which, following one leads there. */
function timeline(plot, data, markers) {
    const strip = part("div", "timeline");
    strip.style.setProperty("--stem", `${plot.over.clientHeight - 8}px`);
    for (const marker of markers) {
        const x = plot.valToPos(placeOf(marker.epoch, data), "x");
        if (!(x >= 0 && x <= plot.over.clientWidth)) continue;
        const link = part("a", `severity-${marker.severity} marker`);
        const isHere = document.getElementById(`issue-${marker.id}`);
        link.href = `${isHere ? "" : location.pathname}#issue-${marker.id}`;
        link.style.left = `${x}px`;
        link.classList.toggle("marker-late", x > plot.over.clientWidth / 2);
        link.append(part("span", "marker-stem"), part("span", "marker-label", marker.label));
        link.setAttribute("aria-label", marker.label);
        strip.append(link);
    }
    plot.over.append(strip);
}

function options(width, data, settings, whenReady, whenZoomed) {
    const axis = { stroke: color("muted"), grid: { stroke: color("line"), width: 1 }, ticks: { show: false } };
    const write = data.axis === "time" ? duration : format;
    const line = (label, place, look) => ({
        label, dash: DASHES[place], stroke: color(COLORS[place]), width: 2, value: (_, value) => format(value),
        // Over the steps a value per epoch has nothing between its epochs.
        spanGaps: data.axis === "step" && data.non_finite.length === 0,
        points: { show: data.x.length < 60, size: 5, fill: color(COLORS[place]) }, ...look,
    });
    const labels = Object.keys(data.series);
    const faint = settings.smoothing > 0 ? { alpha: 0.3, width: 1, dash: [], points: { show: false } } : {};
    return {
        width, height: HEIGHT,
        // A single point has no extent to choose a scale by.
        scales: { x: { time: false, ...(data.x.length === 1 && { range: [data.x[0] - 1, data.x[0] + 1] }) }, y: { distr: settings.isLogarithmic ? 3 : 1 } },
        axes: [{ ...axis, size: 34, values: (_, ticks) => ticks.map(write), ...(data.axis !== "time" && { incrs: WHOLE }) },
            { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => (tick == null ? "" : format(tick))) }],
        series: [{ label: data.axis, value: (_, value) => (value == null ? "–" : write(value)) },
            ...labels.map((label, place) => line(label, place % COLORS.length, faint)),
            ...Object.keys(data.references).map((label, place) => line(label, 0, { stroke: color("muted"), width: 1.5, dash: place ? [2, 4] : [10, 5], spanGaps: false, points: { show: false } })),
            ...(settings.smoothing > 0 ? labels.map((label, place) => line(`${label}, smoothed`, place % COLORS.length)) : [])],
        cursor: { drag: { x: true, y: false, setScale: false } },
        hooks: { ready: [whenReady], draw: [crosses(data.non_finite)], setSelect: [whenZoomed] },
    };
}

/** The columns as the settings want them. The logarithm of what is not positive does not exist: a gap. */
function columns(data, settings) {
    const shown = (values) => (settings.isLogarithmic ? values.map((value) => (value > 0 ? value : null)) : values);
    const lines = Object.values(data.series).map(shown);
    const smooth = settings.smoothing > 0 ? lines.map((values) => smoothed(values, settings.smoothing)) : [];
    return [data.x, ...lines, ...Object.values(data.references).map(shown), ...smooth];
}

class Chart {
    constructor(place, form) {
        this.place = place;
        this.form = form;
        this.markers = JSON.parse(document.getElementById("markers").textContent);
        this.asked = 0;
        this.range = null;
        form.querySelector(".smoothing").hidden = false;
        form.addEventListener("submit", (event) => event.preventDefault());
        form.addEventListener("change", (event) => this.change(event.target.name));
        form.elements.smoothing.addEventListener("input", () => this.render());
        document.addEventListener("theme", () => this.render());
        matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.render());
        new ResizeObserver(() => this.plot?.width !== place.clientWidth && this.render()).observe(place);
        for (const link of document.querySelectorAll("a[data-chart]")) this.wire(link);
        document.addEventListener("fresh", (event) => {
            for (const link of event.target.querySelectorAll("a[data-chart]")) this.wire(link);
        });
        document.addEventListener("news", () => {
            this.markers = JSON.parse(document.getElementById("markers").textContent);
            this.load();
        });
        this.load();
    }

    wire(link) {
        link.addEventListener("click", (event) => {
            event.preventDefault();
            this.form.elements.chart.value = link.dataset.chart;
            this.change("chart");
            document.getElementById("curves").scrollIntoView();
            this.form.elements.chart.focus({ preventScroll: true });
        });
    }

    change(name) {
        const query = new URLSearchParams(location.search);
        const { chart, x, log } = this.form.elements;
        query.set("chart", chart.value);
        query.set("x", x.value);
        if (log.checked) query.set("log", "1");
        else query.delete("log");
        history.replaceState(history.state, "", `?${query}${location.hash}`);
        if (name === "chart" || name === "x") {
            this.range = null;
            this.load();
        } else this.render();
    }

    async load() {
        const number = ++this.asked;
        const { x } = this.form.elements;
        const query = new URLSearchParams(new FormData(this.form));
        query.set("points", Math.min(2000, Math.max(300, this.place.clientWidth)));
        if (this.range) this.range.forEach((end, index) => query.set(index ? "high" : "low", end));
        const answer = await fetch(`${this.place.dataset.series}?${query}`).catch(() => null);
        // Only what was asked for last is shown, whichever answer comes first.
        if (number !== this.asked) return;
        if (!answer?.ok) return this.say("The curves could not be loaded.");
        this.data = await answer.json();
        // Where neither steps nor times were logged, the epochs are what there is.
        x.value = this.data.axis;
        this.render();
    }

    say(text) {
        const note = part("p", "chart-note", text);
        this.place.append(note);
        return note;
    }

    render() {
        if (!this.data) return;
        const { data, place } = this;
        const values = Object.values(data.series).flat().filter((value) => value != null);
        const settings = {
            isLogarithmic: this.form.elements.log.checked && values.some((value) => value > 0),
            smoothing: Number(this.form.elements.smoothing.value),
        };
        this.plot?.destroy();
        this.plot = null;
        place.replaceChildren();
        if (values.length === 0) this.say("No finite value to draw.");
        else {
            const mark = (plot) => timeline(plot, data, this.markers);
            const made = options(place.clientWidth, data, settings, mark, (plot) => this.zoom(plot));
            this.plot = new uPlot(made, columns(data, settings), place);
            this.plot.over.addEventListener("dblclick", () => this.zoom(null));
        }
        if (data.non_finite.length > 0) this.say(`× a number was NaN or infinite at ${data.non_finite.length} point(s)`);
        if (this.range) this.offerWhole();
    }

    /** Ask for the chosen part in full detail, or for the whole again. */
    zoom(plot) {
        if (plot && plot.select.width < 4) return;
        if (!plot && !this.range) return;
        this.range = plot && [plot.select.left, plot.select.left + plot.select.width].map((x) => plot.posToVal(x, "x"));
        this.load();
    }

    offerWhole() {
        const button = part("button", "", "Show the whole run");
        button.type = "button";
        button.addEventListener("click", () => this.zoom(null));
        this.say("").append(button);
    }
}

new Chart(document.getElementById("chart"), document.getElementById("chart-form"));

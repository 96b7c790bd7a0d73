// The loss chart of a session. What the server drew stays until this has something better.

const HEIGHT = 270;
const LONGEST_JUMP = 48;
const SHAPES = { critical: "octagon", warning: "triangle", info: "dot" };

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

function draw(context, shape, x, y, size) {
    context.beginPath();
    if (shape === "dot") context.arc(x, y, size * 0.8, 0, 2 * Math.PI);
    else {
        const corners = shape === "triangle" ? 3 : 8;
        const turn = shape === "triangle" ? -Math.PI / 2 : Math.PI / 8;
        for (let corner = 0; corner < corners; corner++) {
            const angle = turn + (corner * 2 * Math.PI) / corners;
            context.lineTo(x + size * Math.cos(angle), y + size * Math.sin(angle));
        }
    }
    context.fill();
}

/** Lines at the epochs of issues with the shape of their severity on top, and crosses where a number was not finite. */
function marks(markers, nonFinite) {
    return (plot) => {
        const { ctx: context, bbox: box } = plot;
        const size = 5 * devicePixelRatio;
        const place = (epoch) => plot.valToPos(epoch, "x", true);
        context.save();
        for (const marker of markers) {
            const x = place(marker.epoch);
            if (!(x >= box.left && x <= box.left + box.width)) continue;
            context.fillStyle = context.strokeStyle = color(marker.severity);
            context.globalAlpha = 0.35;
            context.beginPath();
            context.moveTo(x, box.top);
            context.lineTo(x, box.top + box.height);
            context.stroke();
            context.globalAlpha = 1;
            draw(context, SHAPES[marker.severity] ?? "dot", x, box.top + size, size);
        }
        context.strokeStyle = color("critical");
        context.lineWidth = 1.5 * devicePixelRatio;
        for (const epoch of nonFinite) {
            const x = place(epoch), y = box.top + box.height - size, arm = size * 0.7;
            if (!(x >= box.left && x <= box.left + box.width)) continue;
            context.beginPath();
            context.moveTo(x - arm, y - arm);
            context.lineTo(x + arm, y + arm);
            context.moveTo(x - arm, y + arm);
            context.lineTo(x + arm, y - arm);
            context.stroke();
        }
        context.restore();
    };
}

/** Go to the issue whose mark is nearest to a click on the chart. */
function jumpToIssue(plot, markers) {
    const distance = (marker) => Math.abs(plot.valToPos(marker.epoch, "x") - plot.cursor.left);
    const nearest = markers.toSorted((one, other) => distance(one) - distance(other))[0];
    const target = nearest && distance(nearest) <= LONGEST_JUMP && document.getElementById(`issue-${nearest.id}`);
    if (target) location.hash = target.id;
}

function options(width, data, markers, isLogarithmic) {
    const axis = { stroke: color("muted"), grid: { stroke: color("line"), width: 1 }, ticks: { show: false } };
    const line = (label, name, dash) => ({
        label, dash, stroke: color(name), width: 2, spanGaps: false, value: (_, value) => format(value),
        points: { show: data.epoch.length < 60, size: 5, fill: color(name) },
    });
    return {
        width, height: HEIGHT,
        scales: { x: { time: false }, y: { distr: isLogarithmic ? 3 : 1 } },
        axes: [{ ...axis, size: 34, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 5e4, 1e5] },
            { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => (tick == null ? "" : format(tick))) }],
        series: [{ label: "epoch" }, line("train loss", "train"), line("val loss", "val", [6, 4])],
        hooks: { draw: [marks(markers, data.non_finite)] },
    };
}

async function show(place) {
    const answer = await fetch(place.dataset.series);
    if (!answer.ok) return;
    const data = await answer.json();
    const markers = JSON.parse(document.getElementById("markers").textContent);
    const button = document.getElementById("log-scale");
    const columns = [data.epoch, data.train_loss, data.val_loss];
    const losses = [...data.train_loss, ...data.val_loss].filter((value) => value != null);
    if (losses.length === 0) return;
    let plot = null;

    const render = () => {
        const isLogarithmic = button.getAttribute("aria-pressed") === "true";
        // The logarithm of a loss that is not positive does not exist: a gap.
        const shown = isLogarithmic ? columns.map((column, place) =>
            place === 0 ? column : column.map((value) => (value > 0 ? value : null))) : columns;
        const width = place.clientWidth;
        plot?.destroy();
        place.replaceChildren();
        plot = new uPlot(options(width, data, markers, isLogarithmic), shown, place);
        plot.over.addEventListener("click", () => jumpToIssue(plot, markers));
        if (data.non_finite.length > 0) {
            const note = document.createElement("p");
            note.className = "chart-note";
            note.textContent = `× a number was NaN or infinite in ${data.non_finite.length} epoch(s)`;
            place.append(note);
        }
    };
    button.hidden = !losses.some((value) => value > 0);
    button.addEventListener("click", () => {
        button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
        render();
    });
    document.addEventListener("theme", render);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", render);
    new ResizeObserver(() => {
        if (plot && plot.width !== place.clientWidth) plot.setSize({ width: place.clientWidth, height: HEIGHT });
    }).observe(place);
    render();
}

show(document.getElementById("chart"));

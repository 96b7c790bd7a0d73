// Tells the value under the pointer on a strip of the layers' map.

function tell(event) {
    const strip = event.target.closest?.(".strip");
    if (!strip) return;
    const table = strip.closest("table");
    const epochs = table.dataset.epochs.split(",");
    const values = strip.dataset.values.split(",");
    const box = strip.getBoundingClientRect();
    const column = Math.min(epochs.length - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * epochs.length)));
    const layer = strip.closest("tr").querySelector("th").textContent.trim();
    const value = values[column] || "no finite value";
    table.closest("section").querySelector(".heat-told").textContent =
        `${layer}, epoch ${epochs[column]}: ${table.dataset.metric.toLowerCase()} ${value}`;
}

// On the document: the map is swapped for that of another metric.
document.addEventListener("pointermove", tell);

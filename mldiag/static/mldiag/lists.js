// The box that ticks every session of the page. Without JavaScript they are ticked one by one.

function wire() {
    const all = document.getElementById("tick-all");
    if (!all?.hidden) return;
    const boxes = () => [...document.querySelectorAll("input[name=sessions]")];
    all.hidden = false;
    all.addEventListener("change", () => boxes().forEach((each) => (each.checked = all.checked)));
    all.form.addEventListener("change", () => {
        const ticked = boxes().filter((each) => each.checked).length;
        all.checked = ticked > 0 && ticked === boxes().length;
        all.indeterminate = ticked > 0 && !all.checked;
    });
}

// htmx brings another table when the filter changes, and news bring another, too.
document.addEventListener("htmx:afterSettle", wire);
document.addEventListener("fresh", wire);
wire();

// The box that selects every problem of the page. Without JavaScript they are selected one by one.

function wireAll(box) {
    const boxes = () => [...document.querySelectorAll("input[name=problem]")];
    box.parentElement.hidden = false;
    box.addEventListener("change", () => boxes().forEach((each) => (each.checked = box.checked)));
    box.form.addEventListener("change", () => {
        const chosen = boxes().filter((each) => each.checked).length;
        box.checked = chosen > 0 && chosen === boxes().length;
        box.indeterminate = chosen > 0 && !box.checked;
    });
}

function wire() {
    const box = document.getElementById("select-all");
    if (box?.parentElement.hidden) wireAll(box);
}

// htmx brings another table when the filter changes.
document.addEventListener("htmx:afterSettle", wire);
wire();

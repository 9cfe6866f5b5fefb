// Fields that matter only with some choice: <div data-when="NAME OF A SELECT" data-is="CHOICE CHOICE">. What does not
// matter is hidden, not emptied: the server takes what belongs to the choice. Without scripts every field is there.
import { $$ } from "./dom.js";

export function choose(form) {
  $$("[data-when]", form).forEach((part) => {
    const chosen = form.elements[part.dataset.when]?.value;
    part.hidden = !part.dataset.is.split(" ").includes(chosen);
  });
}

document.addEventListener("change", (e) => { if (e.target.form) choose(e.target.form); });
document.addEventListener("htmx:afterSwap", () => $$("form").forEach(choose));
$$("form").forEach(choose);

// The release panel: opened by its link, closed by its cross; releases only what is saved and free of errors.

export function releasePanel(save) {
  const panel = document.getElementById("release");
  const form = document.getElementById("release-form");
  const button = document.getElementById("release-button");
  const why = document.getElementById("why-not");
  const other = form.querySelector("input[name=other]");
  let blocked = "";

  const show = (open) => { panel.hidden = !open; };
  show(location.hash === "#release" || panel.querySelector("[role=alert]") !== null);
  document.querySelectorAll("a[href='#release']").forEach((link) => link.addEventListener("click", (event) => {
    event.preventDefault();
    show(true);
    panel.querySelector("input:checked, textarea")?.focus();
  }));
  panel.querySelector("[data-close-release]").addEventListener("click", (event) => { event.preventDefault(); show(false); });
  other.addEventListener("input", () => { form.querySelector("input[value=other]").checked = true; label(); });
  form.addEventListener("change", label);

  function label() {
    const chosen = form.querySelector("input[name=version]:checked")?.value ?? "";
    const version = chosen === "other" ? other.value.trim() : chosen;
    button.textContent = version ? `Release v${version.replace(/^v/, "")}` : "Release";
  }

  document.addEventListener("flow:checked", ({ detail }) => {
    blocked = detail.errors ? `Fix the error on line ${detail.line} first.` : "";
    why.textContent = blocked;
    button.setAttribute("aria-disabled", String(Boolean(blocked)));
    button.setAttribute("aria-describedby", "why-not");
    const mark = document.getElementById("lint-check");
    mark.querySelector("[data-state]").dataset.state = blocked ? "failed" : "succeeded";
    mark.querySelector("use").setAttribute("href", blocked ? "#s-failed" : "#s-succeeded");
    mark.lastChild.textContent = detail.errors ? `Lint: ${detail.errors} error${detail.errors > 1 ? "s" : ""}, line ${detail.line}` : "Lint: no errors";
  });

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (blocked) return;
    if (await save.now()) form.submit();
    else why.textContent = "The draft is not saved, so it was not released.";
  });
  label();
}

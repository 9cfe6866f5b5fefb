// One way to post a form's fields and get JSON back.

/** Posts `fields` with the page's CSRF token. Gives {ok, status, data}; status 0: the server was not reached. */
export async function post(url, fields, signal) {
  const body = new URLSearchParams(fields);
  const token = document.querySelector("input[name=csrfmiddlewaretoken]")?.value ?? "";
  try {
    const answer = await fetch(url, { method: "POST", body, signal, headers: { Accept: "application/json", "X-CSRFToken": token } });
    const json = (answer.headers.get("Content-Type") ?? "").startsWith("application/json");
    return { ok: answer.ok && json, status: answer.status, data: json ? await answer.json() : null };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return { ok: false, status: 0, data: null };
  }
}

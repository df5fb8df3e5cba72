
// The playground: a form made from its description, and the answer shown as any other result.

// In a tab's own store, where a reload finds it and no other origin does; not in the address, which is remembered.
const token = new URLSearchParams(location.hash.slice(1)).get("token") || sessionStorage.getItem("token") || "";
sessionStorage.setItem("token", token);
history.replaceState(null, "", location.pathname);

const controls = []; // of each field: its description, what is typed into, and where its mistakes are named

function control(field) {
  const id = `field-${field.name}`, fault = element("p", { className: "fault", id: `${id}-fault`, hidden: true });
  const long = { lines: 8, json: 14 }[field.kind];
  const input = long
    ? element("textarea", { id, rows: long, value: field.value ?? "", dir: "auto", spellcheck: false, className: field.kind })
    : field.kind === "flag"
      ? element("input", { id, type: "checkbox", checked: Boolean(field.value) })
      : element("input", { id, type: "number", value: field.value ?? "", min: field.min ?? "", max: field.max ?? "", step: "any" });
  const help = element("p", { className: "help", id: `${id}-help`, textContent: field.help ?? "", hidden: !field.help });
  input.setAttribute("aria-describedby", `${fault.id} ${help.id}`);
  controls.push({ field, input, fault });
  const name = element("label", { htmlFor: id, textContent: field.label });
  return element("div", { className: `field ${field.kind}` }, ...(field.kind === "flag" ? [input, name] : [name, input]), help, fault);
}

// What the form says; the function itself says what is wrong with it.
function request() {
  const values = {};
  for (const { field, input } of controls) {
    if (field.kind === "json") return JSON.parse(input.value);
    values[field.name] = {
      lines: () => input.value.replace(/\n+$/, "").split("\n"),
      number: () => (input.value === "" ? null : Number(input.value)),
      flag: () => input.checked,
    }[field.kind]();
  }
  return values;
}

function complain(error, status) {
  const [, name, line] = /^([^[.]*)(?:\[(\d+)\])?/.exec(error.field ?? "");
  const at = controls.find(({ field }) => field.name === name && error.field) ?? controls.find(({ field }) => field.kind === "json" && error.field);
  const words = [element("strong", { textContent: `${status ?? ""} ${error.code}`.trim() }), " ", isolate(error.message)];
  const fault = at?.fault ?? $("fault");
  fault.replaceChildren(...words);
  fault.hidden = false;
  if (!at) return;
  at.input.ariaInvalid = "true";
  at.input.focus();
  if (line === undefined || at.field.kind !== "lines") return;
  const lines = at.input.value.split("\n"), start = lines.slice(0, Number(line)).join("\n").length + (Number(line) > 0);
  at.input.setSelectionRange(start, start + (lines[Number(line)] ?? "").length);
}

async function answer(body) {
  try {
    const response = await fetch("/invoke", {
      method: "POST", body, headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    });
    return await response.json();
  } catch (error) {
    return { error: { code: "NoAnswer", message: `The playground does not answer; does its command still run? (${error.message})` } };
  }
}

async function ask(event) {
  event.preventDefault();
  if ($("send").disabled) return;
  for (const { input, fault } of controls) {
    fault.hidden = true;
    input.ariaInvalid = null;
  }
  $("fault").hidden = true;
  let body;
  try {
    body = JSON.stringify(request());
  } catch (error) {
    complain({ code: "NotJSON", message: error.message, field: "json" });
    return;
  }
  const started = performance.now();
  const tick = () => { $("wait").textContent = `waiting for the function: ${Math.round((performance.now() - started) / 1000)} s`; };
  tick();
  const ticking = setInterval(tick, 1000);
  $("send").disabled = true;
  document.body.ariaBusy = "true";
  const found = await answer(body);
  clearInterval(ticking);
  $("send").disabled = false;
  document.body.ariaBusy = null;
  $("wait").textContent = "";
  if (found.error) {
    complain(found.error, found.status);
    return;
  }
  $("about").replaceChildren(...found.about.flatMap((fact, place) => [place ? " · " : "", isolate(fact)]));
  await load({ index: found.index, block: (number) => found.blocks[number] });
}

async function start() {
  const form = element("form", { id: "ask", noValidate: true, ariaLabel: "Request" });
  for (const field of await unpack($("form").textContent)) form.append(control(field));
  form.append(
    element("p", { className: "send" }, element("button", { id: "send", type: "submit", textContent: "Send" }),
      element("span", { className: "keys" }, element("kbd", { textContent: "Ctrl" }), " ", element("kbd", { textContent: "Enter" })),
      element("span", { id: "wait", role: "timer" })),
    element("p", { id: "fault", className: "fault", role: "alert", hidden: true }));
  form.addEventListener("submit", ask);
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  $("side").prepend(form);
  document.body.className = "asking";
  $("item").replaceChildren(element("p", { className: "none", textContent: "The answer will stand here. The first one waits for the model." }));
  list(0);
  at(-1);
  if (!token) complain({ code: "Token", message: "The token is missing: open the address that the command printed." });
}

start();

// Building the page: elements made of names, attributes and children; text is always text, never markup.

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

// Puts `children` into `parent`; what looks the same stays, so that focus and reading position survive.
export function fill(parent, children) {
  const wanted = children.flat().filter(Boolean);
  const kept = new Map([...parent.children].filter((c) => c.dataset.key).map((c) => [c.dataset.key, c]));
  wanted.forEach((child, place) => {
    const old = kept.get(child.dataset.key);
    if (old && old.querySelector("details[open]")) child.querySelector("details")?.setAttribute("open", "");
    const use = old && old.isEqualNode(child) ? old : child;
    const there = parent.children[place];
    if (there === use) return;
    const focused = old && old !== use && old.contains(document.activeElement)
      ? document.activeElement.dataset.focus : null;
    if (old && old !== use) old.replaceWith(use);
    if (parent.children[place] !== use) parent.insertBefore(use, parent.children[place] || null);
    if (focused) use.querySelector(`[data-focus="${focused}"]`)?.focus();
  });
  while (parent.children.length > wanted.length) parent.lastElementChild.remove();
}

import { remove } from "./api.js";
import { el, say } from "./dom.js";
import { entries, size } from "./format.js";

/** Asks before something is deleted; true if it was. The focus goes back to where it was. */
export function confirmDeletion({ title, text, list = [], usage, what }) {
  const dialog = document.getElementById("confirm");
  const before = document.activeElement;
  return new Promise((resolve) => {
    const failed = el("p", { class: "bad", role: "alert" });
    const cancel = el("button", { type: "button", on: { click: () => close(false) } }, "Cancel");
    const button = el("button", { type: "button", class: "danger primary" }, `Delete ${entries(usage.entries)}`);
    const close = (done) => {
      dialog.removeEventListener("cancel", onCancel);
      dialog.close();
      before?.isConnected && before.focus();
      resolve(done);
    };
    const onCancel = (event) => {
      event.preventDefault();
      close(false);
    };
    button.addEventListener("click", async () => {
      button.disabled = true;
      cancel.disabled = true;
      failed.textContent = "";
      try {
        const gone = await remove(what);
        close(true);
        say(`Deleted ${entries(gone.entries)}, ${size(gone.bytes)}.`);
      } catch (error) {
        button.disabled = false;
        cancel.disabled = false;
        failed.textContent = error.message;
      }
    });
    dialog.addEventListener("cancel", onCancel);
    dialog.replaceChildren(
      el("h2", { id: "confirm-title" }, title),
      el("div", { id: "confirm-text" },
        el("p", {}, text),
        list.length > 0 ? el("ul", {}, list.map((line) => el("li", { class: "mono key" }, line))) : undefined,
        el("p", {}, el("strong", {}, `${entries(usage.entries)}, ${size(usage.bytes)}`), ". Builds that need them will do that work again.")),
      failed,
      el("div", { class: "actions" }, cancel, button));
    dialog.showModal();
    cancel.focus();
  });
}

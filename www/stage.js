// @ts-check
/** What stands where the picture is: the loading panel, a problem, or the picture itself. Never two of them. */
import { button, byId } from "./dom.js";

/** @typedef {"loading" | "ready" | "busy" | "error"} State */
/** @typedef {{ label: string, onClick: () => void }} Action */

/** @param {State} state */
export function setState(state) {
  document.documentElement.dataset.state = state;
  byId("figure").setAttribute("aria-busy", String(state === "loading" || state === "busy"));
}

/** @param {"loading" | "problem" | "picture"} id */
function only(id) {
  for (const each of ["loading", "problem", "picture"]) byId(each).hidden = each !== id;
  if (id !== "picture") byId("strip").hidden = true;
}

/**
 * @param {string} code @param {string} message
 * @param {import("./problems.js").Advice} advice @param {Action[]} actions
 */
export function showProblem(code, message, advice, actions) {
  const box = byId("problem");
  only("problem");
  box.dataset.code = code;
  box.classList.toggle("quiet", advice.quiet === true);
  byId("problem-title").textContent = advice.title;
  byId("problem-text").textContent = message;
  byId("problem-help").textContent = advice.help ?? "";
  byId("problem-code").textContent = advice.quiet ? "" : code;
  byId("problem-actions").replaceChildren(...actions.map(({ label, onClick }) => button("chip", label, onClick)));
}

export const showLoading = () => only("loading");
export const showPicture = () => only("picture");

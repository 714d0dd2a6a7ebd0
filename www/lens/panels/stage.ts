/** What stands where the picture is: the loading panel, a problem, or the picture itself. Never two of them. */
import { button, byId } from "../../ui/dom.ts";
import type { Advice } from "../../lib/problems.ts";

export type State = "loading" | "ready" | "busy" | "error";
export type Action = { label: string; onClick: () => void };

export function setState(state: State) {
  document.documentElement.dataset.state = state;
  byId("figure").setAttribute("aria-busy", String(state === "loading" || state === "busy"));
}

function only(id: "loading" | "problem" | "picture") {
  for (const each of ["loading", "problem", "picture"]) byId(each).hidden = each !== id;
}

export function showProblem(code: string, message: string, advice: Advice, actions: Action[]) {
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

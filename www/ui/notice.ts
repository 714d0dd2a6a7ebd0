/** One message above the picture that can be acted on or dismissed; a newer one takes its place. */
import { button, byId } from "./dom.ts";

export type Action = { label: string; onClick: () => void; is_main?: boolean };

export interface Notice {
  title: string;
  text?: string;
  code?: string;
  /** each also closes the notice */
  actions?: Action[];
  /** the label of the button that does nothing else */
  dismiss?: string;
  onDismiss?: () => void;
}

export function showNotice({ title, text = "", code = "", actions = [], dismiss = "Dismiss", onDismiss }: Notice) {
  byId("notice-title").textContent = title;
  byId("notice-text").textContent = text;
  byId("notice-code").textContent = code;
  byId("notice").dataset.code = code;
  byId("notice-actions").replaceChildren(
    ...actions.map(({ label, onClick, is_main }) =>
      button(is_main ? "chip main" : "chip", label, () => (hideNotice(), onClick())),
    ),
    button("chip", dismiss, () => (hideNotice(), onDismiss?.())),
  );
  byId("notice").hidden = false;
}

export function hideNotice() {
  byId("notice").hidden = true;
}

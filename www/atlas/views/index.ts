/** The views of the atlas, in the order of the list. */
import { button, element } from "../../ui/dom.ts";
import { view as candidates } from "./candidates.ts";
import { view as channel } from "./channel.ts";
import { view as channels } from "./channels.ts";
import { view as gains } from "./gains.ts";
import { view as matrix } from "./matrix.ts";
import { view as outliers } from "./outliers.ts";
import { view as pairs } from "./pairs.ts";
import { view as spectrum } from "./spectrum.ts";
import { view as zero } from "./zero.ts";
import type { Shown, View } from "../types.ts";

/** A view in a chunk of its own, which comes when it is first opened. */
const later = (what: Omit<View, "create">, load: () => Promise<Pick<View, "create">>): View => ({
  ...what,
  create: (stage) => {
    const box = element("div", "");
    let made: Shown | null = null;
    let is_shown = false;
    async function show() {
      is_shown = true;
      const module = made ? null : await load().catch(() => null);
      if (!is_shown) return;
      if (!made && !module) {
        const again = button("chip", "Try again", () => void show());
        return box.replaceChildren(element("p", "muted", "This view could not be loaded."), again);
      }
      if (module && !made) {
        made = module.create(stage);
        box.replaceChildren(made.element);
      }
      await made?.show();
    }
    return {
      element: box,
      show,
      hide: () => {
        is_shown = false;
        made?.hide?.();
      },
      redraw: () => made?.redraw?.(),
    };
  },
});

const components = later({ name: "components", title: "Components", needs: ["wte"] }, () => import("./components.ts"));

export const VIEWS: View[] = [
  matrix,
  channels,
  pairs,
  gains,
  channel,
  spectrum,
  components,
  candidates,
  zero,
  outliers,
];

/**
 * The page's hook for tests and scripts. Rectangles are CSS pixels from the canvas's top left; a cell's fill can be
 * sampled 5 pixels inside its corner, clear of outline and text, and the two lines of its outline 1.5 and 2.5 pixels inside its edges.
 */
import type { Atlas } from "../atlas/atlas.ts";
import type { Causes } from "../causes/causes.ts";
import type { Evidence } from "../evidence/evidence.ts";
import type { Engine } from "../engine/client.ts";
import type { createFigure } from "../lens/figure/figure.ts";
import type { PlainReading } from "../reading/reading.ts";
import type { Store } from "../state/store.ts";

export function installHook({
  figure: { picture, beside },
  store,
  engine,
  put,
  atlas,
  causes,
  evidence,
}: {
  figure: ReturnType<typeof createFigure>;
  store: Store;
  engine: () => Engine;
  put: (reading: PlainReading) => void;
  atlas: () => Atlas | null;
  causes: () => Causes | null;
  evidence: () => Evidence | null;
}) {
  (window as Window & { loupePage?: object }).loupePage = {
    /** The plain Reading that is shown, or null. */
    reading: picture.reading,
    cellRect: picture.cellRect,
    cellColour: picture.cellColour,
    outlined: picture.outlined,
    view: () => store.view.peek().name,
    state: () => store.address.peek(),
    /** What the picture is drawn from: rows, values, scale, window. */
    shown: picture.shown,
    /** Cells in the last frame, and frames so far. */
    drawn: picture.drawn,
    /** The same of the second text's picture. */
    second: () => {
      const comparison = store.comparison.peek();
      return { reading: comparison?.second ?? null, comparison, shown: beside.shown() };
    },
    /** Shows a reading from elsewhere, as if the engine had read it. */
    show: put,
    /** The atlas, once somebody has opened it: its questions to the engine, its clouds and where their points are. */
    atlas,
    /** The tab of causes, likewise: the edited run, its pictures, attribution and sweeps. */
    causes,
    /** The tab of evidence, likewise. */
    evidence,
    /** The engine behind the page: `load`, `read`, `encode`, `close`. */
    get engine() {
      return engine();
    },
  };
}

/** What a scatter plot draws. */
export interface ScatterData {
  x: ArrayLike<number>;
  y: ArrayLike<number>;
  /** what each point stands for: a token or a channel; its index, if absent */
  ids?: ArrayLike<number>;
  x_label: string;
  y_label: string;
  x_kind?: "linear" | "log";
  y_kind?: "linear" | "log";
  /** instead of that of the points; what lies beyond stands on the edge */
  x_extent?: [number, number];
  y_extent?: [number, number];
  colours?:
    { classes: { name: string; css: string }[]; of: Uint8Array | null } | { label: string; values: ArrayLike<number> };
  /** of a point */
  name?: (id: number) => string;
  /** what else there is to say of a point */
  about?: (index: number) => string;
  /** points whose names are always shown, by index */
  labelled?: number[];
  /**
   * drawn as a line over the points, with names for its ends. The axes need not span its first `n_faint` places, and
   * what leads from one of them is drawn faintly.
   */
  over?: {
    x: ArrayLike<number>;
    y: ArrayLike<number>;
    name: string;
    css: string;
    n_faint?: number;
    ends?: [string, string];
  };
  /** whether the axes span the origin, which a plus sign marks */
  has_origin?: boolean;
  /** while it is the same, the zoom stays */
  key?: string;
}

//! Which form of a kernel computes. All forms give the same bits, so that only the time depends on the choice.

use std::cell::{Cell, RefCell};
use std::fmt;

use crate::device::{Backend, Device, Kernel, Source};
use crate::error::Result;

use super::matmul::{F16, F32, TILES_F16, TILES_F32, WIDE_F16, WIDE_F32};
use super::{Precision, SOURCES, attention, layer_norm, lens_fold};

/// A configuration of the matrix product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tile {
    /// 16 × 64 outputs in registers, without a barrier: for a few rows, and for an adapter in software.
    Register,
    /// 8 × 128 in registers, without a barrier: for SwiftShader, to which a load costs as much as eight additions. With it,
    /// the lens has its lists in memory.
    Wide,
    /// 8 × 32 by way of workgroup memory, where many invocations fetch the weights of a few rows.
    Rows8,
    /// 32 × 64.
    Rows32,
    /// 64 × 64.
    Rows64,
    /// 128 × 128.
    Rows128,
}

impl Tile {
    /// Every one, in the order of their sizes.
    pub const ALL: [Tile; 6] =
        [Tile::Register, Tile::Wide, Tile::Rows8, Tile::Rows32, Tile::Rows64, Tile::Rows128];

    /// Whether it may be the fastest for that many rows.
    pub fn suits(self, n_rows: usize) -> bool {
        match self {
            Tile::Register | Tile::Rows32 => true,
            Tile::Wide => n_rows > Forms::HALF_WIDE,
            Tile::Rows8 => n_rows <= Forms::FEW,
            Tile::Rows64 | Tile::Rows128 => n_rows > Forms::FEW,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Tile::Register => "register",
            Tile::Wide => "wide",
            Tile::Rows8 => "8",
            Tile::Rows32 => "32",
            Tile::Rows64 => "64",
            Tile::Rows128 => "128",
        }
    }

    fn source(self, precision: Precision) -> &'static Source {
        let (register, wide, tiles) = match precision {
            Precision::F32 => (&F32, &WIDE_F32, &TILES_F32),
            Precision::F16 => (&F16, &WIDE_F16, &TILES_F16),
        };
        match self {
            Tile::Register => register,
            Tile::Wide => wide,
            Tile::Rows8 => &tiles[0],
            Tile::Rows32 => &tiles[1],
            Tile::Rows64 => &tiles[2],
            Tile::Rows128 => &tiles[3],
        }
    }
}

/// What computes a row of LayerNorm, and a query of attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// One invocation, or one for each 32 channels, without a barrier: for an adapter in software.
    Invocation,
    /// The invocations of a workgroup together.
    Workgroup,
}

impl Unit {
    const ALL: [Unit; 2] = [Unit::Invocation, Unit::Workgroup];

    fn name(self) -> &'static str {
        match self {
            Unit::Invocation => "invocation",
            Unit::Workgroup => "workgroup",
        }
    }
}

/// The forms that an adapter uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forms {
    /// The tile of a product of up to [`Forms::FEW`] rows.
    pub few: Tile,
    /// Up to [`Forms::SOME`] rows.
    pub some: Tile,
    /// Of more.
    pub many: Tile,
    /// For the rows of LayerNorm and attention.
    pub rows: Unit,
}

impl Forms {
    /// Rows of a typed token.
    pub const FEW: usize = 16;
    /// Rows of a block of positions.
    pub const SOME: usize = 64;
    /// Half the rows of [`Tile::Wide`], which takes as long for these as [`Tile::Register`].
    const HALF_WIDE: usize = 4;
    /// What a device begins with, and an adapter in software keeps, but for SwiftShader.
    pub const PLAIN: Forms = Forms::all(Tile::Register, Unit::Invocation);
    /// For Chromium's adapter in software.
    pub const SWIFTSHADER: Forms = Forms::all(Tile::Wide, Unit::Invocation);

    /// The same tile for any number of rows.
    pub const fn all(tile: Tile, rows: Unit) -> Forms {
        Forms { few: tile, some: tile, many: tile, rows }
    }

    /// Positions that the forward pass computes at once, so that there is work for all of a GPU; `None` for those of the
    /// lens, where the first of them are to be shown soon.
    pub fn n_forward(&self) -> Option<usize> {
        let shares = |tile| !matches!(tile, Tile::Register | Tile::Wide);
        let tiles = [self.few, self.some, self.many];
        (self.rows == Unit::Workgroup || tiles.into_iter().any(shares)).then_some(256)
    }

    /// The tile of a product of `n_rows` rows.
    pub fn of(&self, n_rows: usize) -> Tile {
        let tile = if n_rows <= Forms::FEW {
            self.few
        } else if n_rows <= Forms::SOME {
            self.some
        } else {
            self.many
        };
        if tile == Tile::Wide && !tile.suits(n_rows) { Tile::Register } else { tile }
    }

    /// What [`Forms::fmt`] wrote; `None` for another text, and for that of a version with other kernels.
    pub fn parse(text: &str) -> Option<Forms> {
        let tile = |name: &str| Tile::ALL.into_iter().find(|tile| tile.name() == name);
        let unit = |name: &str| Unit::ALL.into_iter().find(|unit| unit.name() == name);
        let mut names = text.split(' ');
        let (few, some, many) = (names.next()?, names.next()?, names.next()?);
        let forms = Forms {
            few: tile(few)?,
            some: tile(some)?,
            many: tile(many)?,
            rows: unit(names.next()?)?,
        };
        let is_of_these = names.next()? == version();
        (is_of_these && names.next().is_none()).then_some(forms)
    }
}

impl fmt::Display for Forms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Forms { few, some, many, rows } = self;
        let [few, some, many] = [few, some, many].map(|tile| tile.name());
        write!(f, "{few} {some} {many} {} {}", rows.name(), version())
    }
}

/// A digest of all kernels, by FNV-1a: what was measured of others says nothing.
fn version() -> String {
    let texts = SOURCES.iter().flat_map(|source| source.wgsl.iter()).flat_map(|text| text.bytes());
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    format!("{:08x}", texts.fold(0x811c_9dc5, step))
}

/// The kernels that have several forms, as far as they have been compiled, and the choice among them.
pub(super) struct Choice {
    precision: Precision,
    /// The plain forms: product, LayerNorm, attention, fold.
    plain: [Kernel; 4],
    compiled: RefCell<Vec<(&'static Source, Kernel)>>,
    forms: Cell<Forms>,
}

impl Choice {
    /// With the forms that need no workgroup memory.
    pub(super) fn new(device: &Device, precision: Precision) -> Choice {
        let register = Tile::Register.source(precision);
        let plain = [register, &layer_norm::SOURCE, &attention::SOURCE, &lens_fold::SOURCE];
        let plain = plain.map(|source| Kernel::new(device, source));
        let (compiled, forms) = (RefCell::default(), Cell::new(Forms::PLAIN));
        Choice { precision, plain, compiled, forms }
    }

    pub(super) fn forms(&self) -> Forms {
        self.forms.get()
    }

    /// Compiles what is missing of these forms and uses them from now on. A CPU has one form only.
    ///
    /// Errors: `gpu-refused`, `device-lost`.
    pub(super) async fn choose(&self, device: &Device, forms: Forms) -> Result<()> {
        if device.backend() == Backend::Cpu {
            return Ok(());
        }
        let tiles = [forms.few, forms.some, forms.many].into_iter();
        let mut sources: Vec<_> = tiles
            .filter(|&tile| tile != Tile::Register)
            .map(|tile| tile.source(self.precision))
            .collect();
        if forms.rows == Unit::Workgroup {
            sources.extend([&layer_norm::SHARED, &attention::SHARED]);
        }
        if forms.many == Tile::Wide {
            sources.push(&lens_fold::IN_MEMORY);
        }
        for source in sources {
            if self.find(source).is_none() {
                let make = || Ok(Kernel::new(device, source));
                let kernel = device.allocate("the kernels", make).await?;
                self.compiled.borrow_mut().push((source, kernel));
            }
        }
        self.forms.set(forms);
        Ok(())
    }

    fn find(&self, source: &Source) -> Option<Kernel> {
        let compiled = self.compiled.borrow();
        let found = compiled.iter().find(|(known, _)| std::ptr::eq(*known, source));
        found.map(|(_, kernel)| kernel.clone())
    }

    /// The kernel for a product of `n_rows` rows.
    pub(super) fn matmul(&self, n_rows: usize) -> Kernel {
        let source = self.forms().of(n_rows).source(self.precision);
        self.find(source).unwrap_or_else(|| self.plain[0].clone())
    }

    pub(super) fn layer_norm(&self) -> Kernel {
        self.by_unit(&layer_norm::SHARED, &self.plain[1])
    }

    /// The fold, whose form is that of the products.
    pub(super) fn lens_fold(&self) -> Kernel {
        let is_wide = self.forms().many == Tile::Wide;
        let chosen = is_wide.then(|| self.find(&lens_fold::IN_MEMORY)).flatten();
        chosen.unwrap_or_else(|| self.plain[3].clone())
    }

    /// The kernel for heads of `head_dim` channels in so many runs.
    pub(super) fn attention(&self, head_dim: usize, n_runs: usize) -> Kernel {
        match head_dim <= attention::MAX_DIM && n_runs == 1 {
            true => self.by_unit(&attention::SHARED, &self.plain[2]),
            false => self.plain[2].clone(),
        }
    }

    fn by_unit(&self, shared: &'static Source, plain: &Kernel) -> Kernel {
        let chosen = (self.forms().rows == Unit::Workgroup).then(|| self.find(shared)).flatten();
        chosen.unwrap_or_else(|| plain.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::{Forms, Tile, Unit};

    #[test]
    fn forms_as_text() {
        for few in Tile::ALL {
            for many in Tile::ALL {
                for rows in Unit::ALL {
                    let forms = Forms { few, some: Tile::Rows64, many, rows };
                    assert_eq!(Forms::parse(&forms.to_string()), Some(forms));
                }
            }
        }
        let right = Forms::all(Tile::Rows32, Unit::Workgroup).to_string();
        for text in [
            "",
            "register",
            "32 32 32",
            "32 32 32 workgroup",
            "32 32 32 workgroup 00000000",
            &right.replace("32 32 32", "32 32 256"),
            &right.replace("workgroup", "row"),
            &format!("{right} "),
            &format!("{right} more"),
        ] {
            assert_eq!(Forms::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_tile_of_a_number_of_rows() {
        let (few, some, many) = (Tile::Register, Tile::Rows32, Tile::Rows128);
        let forms = Forms { few, some, many, rows: Unit::Invocation };
        let of = [1, 16, 17, 64, 65, 1000].map(|n| forms.of(n));
        use Tile::{Register, Rows32, Rows128};
        assert_eq!(of, [Register, Register, Rows32, Rows32, Rows128, Rows128]);
        let of = [1, 4, 5, 1000].map(|n| Forms::SWIFTSHADER.of(n));
        assert_eq!(of, [Register, Register, Tile::Wide, Tile::Wide]);
    }
}

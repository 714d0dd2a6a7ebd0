//! Which kernel computes a matrix product. All of them give the same bits, so that only the time depends on the choice.

use std::cell::{Cell, RefCell};
use std::fmt;

use crate::device::{Backend, Device, Kernel, Source};
use crate::error::Result;

use super::Precision;
use super::matmul::{F16, F32, TILES_F16, TILES_F32};

/// A configuration of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tile {
    /// 16 × 64 outputs in registers, without a barrier: for a few rows, and for an adapter in software.
    Register,
    /// 32 × 64 by way of workgroup memory.
    Rows32,
    /// 64 × 64.
    Rows64,
    /// 128 × 128.
    Rows128,
}

impl Tile {
    /// Every one, in the order of their sizes.
    pub const ALL: [Tile; 4] = [Tile::Register, Tile::Rows32, Tile::Rows64, Tile::Rows128];

    fn name(self) -> &'static str {
        match self {
            Tile::Register => "register",
            Tile::Rows32 => "32",
            Tile::Rows64 => "64",
            Tile::Rows128 => "128",
        }
    }

    fn source(self, precision: Precision) -> &'static Source {
        let (register, tiles) = match precision {
            Precision::F32 => (&F32, &TILES_F32),
            Precision::F16 => (&F16, &TILES_F16),
        };
        match self {
            Tile::Register => register,
            Tile::Rows32 => &tiles[0],
            Tile::Rows64 => &tiles[1],
            Tile::Rows128 => &tiles[2],
        }
    }
}

/// The tile of a product, by its number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiles {
    /// Up to [`Tiles::FEW`] rows.
    pub few: Tile,
    /// Up to [`Tiles::SOME`] rows.
    pub some: Tile,
    /// More.
    pub many: Tile,
}

impl Tiles {
    /// Rows of a typed token.
    pub const FEW: usize = 16;
    /// Rows of a block of positions.
    pub const SOME: usize = 64;
    /// What a device begins with, and an adapter in software keeps.
    pub const REGISTER: Tiles = Tiles::all(Tile::Register);

    /// The same one for any number of rows.
    pub const fn all(tile: Tile) -> Tiles {
        Tiles { few: tile, some: tile, many: tile }
    }

    /// The tile of a product of `n_rows` rows.
    pub fn of(&self, n_rows: usize) -> Tile {
        if n_rows <= Tiles::FEW {
            self.few
        } else if n_rows <= Tiles::SOME {
            self.some
        } else {
            self.many
        }
    }

    /// What [`Tiles::fmt`] wrote; `None` for another text, as another version may have written it.
    pub fn parse(text: &str) -> Option<Tiles> {
        let tile = |name: &str| Tile::ALL.into_iter().find(|tile| tile.name() == name);
        let mut names = text.split(' ').map(tile);
        let mut next = || names.next().flatten();
        let (few, some, many) = (next()?, next()?, next()?);
        names.next().is_none().then_some(Tiles { few, some, many })
    }
}

impl fmt::Display for Tiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tiles { few, some, many } = self;
        write!(f, "{} {} {}", few.name(), some.name(), many.name())
    }
}

/// The kernels of the product that have been compiled, and the choice among them.
pub(super) struct Products {
    precision: Precision,
    register: Kernel,
    /// By tile, but for the first one.
    compiled: RefCell<[Option<Kernel>; 3]>,
    tiles: Cell<Tiles>,
}

impl Products {
    /// With the kernel that needs no workgroup memory.
    pub(super) fn new(device: &Device, precision: Precision) -> Products {
        let register = Kernel::new(device, Tile::Register.source(precision));
        let (compiled, tiles) = (RefCell::default(), Cell::new(Tiles::REGISTER));
        Products { precision, register, compiled, tiles }
    }

    pub(super) fn tiles(&self) -> Tiles {
        self.tiles.get()
    }

    /// Compiles what is missing of these tiles and uses them from now on. A CPU has one kernel only.
    ///
    /// Errors: `gpu-refused`, `device-lost`.
    pub(super) async fn choose(&self, device: &Device, tiles: Tiles) -> Result<()> {
        if device.backend() == Backend::Cpu {
            return Ok(());
        }
        for tile in [tiles.few, tiles.some, tiles.many] {
            let Some(at) = place(tile) else { continue };
            if self.compiled.borrow()[at].is_none() {
                let source = tile.source(self.precision);
                let kernel =
                    device.allocate("the kernels", || Ok(Kernel::new(device, source))).await?;
                self.compiled.borrow_mut()[at] = Some(kernel);
            }
        }
        self.tiles.set(tiles);
        Ok(())
    }

    /// The kernel for a product of `n_rows` rows.
    pub(super) fn kernel(&self, n_rows: usize) -> Kernel {
        let chosen = place(self.tiles.get().of(n_rows));
        let compiled = chosen.and_then(|at| self.compiled.borrow()[at].clone());
        compiled.unwrap_or_else(|| self.register.clone())
    }
}

/// The index of a compiled tile.
fn place(tile: Tile) -> Option<usize> {
    match tile {
        Tile::Register => None,
        Tile::Rows32 => Some(0),
        Tile::Rows64 => Some(1),
        Tile::Rows128 => Some(2),
    }
}

#[cfg(test)]
mod tests {
    use super::{Tile, Tiles};

    #[test]
    fn tiles_as_text() {
        for few in Tile::ALL {
            for many in Tile::ALL {
                let tiles = Tiles { few, some: Tile::Rows64, many };
                assert_eq!(Tiles::parse(&tiles.to_string()), Some(tiles));
            }
        }
        for text in ["", "register", "32 64", "32 64 256", "32 64 128 ", "32 64 128 128"] {
            assert_eq!(Tiles::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_tile_of_a_number_of_rows() {
        let tiles = Tiles { few: Tile::Register, some: Tile::Rows32, many: Tile::Rows128 };
        let of = [1, 16, 17, 64, 65, 1000].map(|n| tiles.of(n));
        use Tile::{Register, Rows32, Rows128};
        assert_eq!(of, [Register, Register, Rows32, Rows32, Rows128, Rows128]);
    }
}

//! Images to begin with: gradients and circles.

use std::path::Path;

use image::{ImageResult, Rgb, RgbImage};

/// Paints one of each into this folder.
pub(crate) fn all(folder: &Path) -> ImageResult<()> {
    gradient(640, 480).save(folder.join("gradient.png"))?;
    gradient(300, 600).save(folder.join("gradient.jpg"))?;
    circles(500, 500).save(folder.join("circles.png"))?;
    circles(1024, 256).save(folder.join("circles.jpg"))
}

/// From black at the top left to yellow at the bottom right.
fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([share(x, width), share(y, height), 0]))
}

/// Rings around the middle.
fn circles(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (across, down) = (x.abs_diff(width / 2), y.abs_diff(height / 2));
        let radius = (across * across + down * down).isqrt();
        match radius / 16 % 2 {
            0 => Rgb([share(x, width), 64, 160]),
            _ => Rgb([255; 3]),
        }
    })
}

/// How far this is, of 255.
fn share(part: u32, whole: u32) -> u8 {
    u8::try_from(part * 255 / whole).unwrap_or(u8::MAX)
}

//! The board: two serial lines, the stack, the start. Everything unsafe is here.

use core::future::poll_fn;
use core::ptr::{read_volatile, write_volatile};
use core::task::Poll;

/// A serial line (CMSDK UART).
pub struct Uart(usize);

pub const UART0: Uart = Uart(0x4000_4000);
pub const UART1: Uart = Uart(0x4000_5000);

const STATE: usize = 4;
const CONTROL: usize = 8;
const DIVIDER: usize = 16;
const OUTPUT_FULL: u32 = 1;
const INPUT_FULL: u32 = 2;

impl Uart {
    fn read_register(&self, offset: usize) -> u32 {
        // SAFETY: a register of this board.
        unsafe { read_volatile((self.0 + offset) as *const u32) }
    }

    fn write_register(&self, offset: usize, value: u32) {
        // SAFETY: a register of this board.
        unsafe { write_volatile((self.0 + offset) as *mut u32, value) }
    }

    pub fn begin(&self) {
        self.write_register(DIVIDER, 16);
        self.write_register(CONTROL, 3);
    }

    /// Waits for bytes, and takes those that are there. A driver with DMA would return more at once.
    pub async fn read(&self, bytes: &mut [u8]) -> usize {
        poll_fn(|_| {
            let mut count = 0;
            for byte in bytes.iter_mut() {
                if self.read_register(STATE) & INPUT_FULL == 0 {
                    break;
                }
                *byte = self.read_register(0) as u8;
                count += 1;
            }
            if count == 0 { Poll::Pending } else { Poll::Ready(count) }
        })
        .await
    }

    pub async fn write(&self, bytes: &[u8]) {
        for &byte in bytes {
            poll_fn(|_| match self.read_register(STATE) & OUTPUT_FULL {
                0 => Poll::Ready(self.write_register(0, byte.into())),
                _ => Poll::Pending,
            })
            .await
        }
    }
}

unsafe extern "C" {
    static stack_bottom: u8;
    static stack_top: u8;
}

/// What an unused byte of the stack holds.
const PAINT: u8 = 0xa5;

/// The most bytes of stack that were in use so far.
pub fn stack_used() -> usize {
    let (bottom, top) = (&raw const stack_bottom as usize, &raw const stack_top as usize);
    // SAFETY: the stack is there.
    let unused = (bottom..top).take_while(|&place| unsafe { read_volatile(place as *const u8) } == PAINT);
    top - bottom - unused.count()
}

/// Control of the floating-point unit, which is off after a reset (CPACR).
const COPROCESSORS: *mut u32 = 0xe000_ed88 as *mut u32;

/// The first code: switches the floating-point unit on, paints the stack, and starts the program.
#[unsafe(no_mangle)]
unsafe extern "C" fn reset() -> ! {
    // SAFETY: a register of this processor; the barriers let it take effect.
    unsafe {
        write_volatile(COPROCESSORS, read_volatile(COPROCESSORS) | 0xf << 20);
        core::arch::asm!("dsb", "isb");
    }
    let here = 0u8;
    let (bottom, here) = (&raw const stack_bottom as usize, &raw const here as usize);
    for place in bottom..here.saturating_sub(64) {
        // SAFETY: below the stack pointer, nobody uses the stack.
        unsafe { write_volatile(place as *mut u8, PAINT) }
    }
    crate::main()
}

#[repr(C)]
pub union Vector {
    stack: *const u8,
    code: unsafe extern "C" fn() -> !,
}

// SAFETY: they are constants.
unsafe impl Sync for Vector {}

#[unsafe(link_section = ".vectors")]
#[unsafe(no_mangle)]
static VECTORS: [Vector; 4] = [
    Vector {
        // SAFETY: only the address is taken.
        stack: &raw const stack_top,
    },
    Vector { code: reset },
    Vector { code: fault },
    Vector { code: fault },
];

unsafe extern "C" fn fault() -> ! {
    loop {}
}

/// Never linked: the build makes a trap of every check that could panic (`-Cpanic=immediate-abort`).
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

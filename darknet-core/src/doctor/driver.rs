use super::{Finding, Nature, Patient, host::release};

/// What is known of a driver from its source in Linux 6.1 to 6.12, for kernels that can't be asked
/// and for what no kernel tells. Only igb and virtio_net were run (emulated), no other.
pub(super) struct Driver {
    name: &'static str,
    /// Whether Linux 6.1 has sockets that share their memory with this card. All but gve have driver
    /// mode there.
    zero_copy: bool,
    /// Whether Linux 6.1 has frames of several buffers for it.
    multi_buffer: bool,
    /// Whether queues are set up anew when a program comes or goes.
    resets: bool,
    /// Whether driver mode needs a queue to send by for each that receives, and takes it from the
    /// same number.
    pub(super) half_of_the_queues: bool,
    /// The longest packet in driver mode without multi-buffer.
    mtu: u32,
}

/// A page of 4,096 bytes has to hold the headroom (`XDP_PACKET_HEADROOM`, 256), the frame with its
/// header and two tags (22) and `skb_shared_info` (320).
const PAGE: u32 = 3_498;
/// Intel's receive buffers are 3,072 bytes; header, two tags and checksum take 26.
const INTEL: u32 = 3_046;

const DRIVERS: [Driver; 19] = [
    driver("atlantic", [false, true, true], 2_048),
    driver("bnxt_en", [false, true, true], PAGE),
    Driver {
        half_of_the_queues: true,
        ..driver("ena", [false, false, true], PAGE)
    },
    Driver {
        half_of_the_queues: true,
        ..driver("gve", [false, false, true], PAGE)
    },
    driver("hv_netvsc", [false, false, false], PAGE),
    driver("i40e", [true, false, true], INTEL),
    driver("ice", [true, false, true], INTEL),
    driver("igb", [false, false, true], INTEL),
    driver("igc", [true, false, true], 1_500),
    driver("ixgbe", [true, false, true], INTEL),
    driver("ixgbevf", [false, false, true], INTEL),
    driver("mlx4_en", [false, false, true], PAGE),
    driver("mlx5_core", [true, true, true], PAGE),
    driver("mvneta", [false, true, true], PAGE),
    driver("nfp", [true, false, true], PAGE),
    driver("qede", [false, false, true], PAGE),
    driver("sfc", [false, false, true], PAGE),
    driver("stmmac", [true, false, true], 1_500),
    driver("virtio_net", [false, false, false], PAGE),
];

const fn driver(
    name: &'static str,
    [zero_copy, multi_buffer, resets]: [bool; 3],
    mtu: u32,
) -> Driver {
    Driver {
        name,
        zero_copy,
        multi_buffer,
        resets,
        half_of_the_queues: false,
        mtu,
    }
}

pub(super) fn known(patient: &Patient<'_>) -> Option<&'static Driver> {
    DRIVERS.iter().find(|driver| driver.name == patient.driver)
}

pub(super) fn findings(patient: &Patient<'_>) -> Vec<Finding> {
    let mut findings = vec![mode(patient)];
    if patient.nature == Nature::Card {
        findings.extend(obstacle(patient));
    }
    if matches!(patient.nature, Nature::Card | Nature::Veth) {
        findings.extend(mtu(patient));
    }
    findings.extend(attaching(patient));
    if !matches!(patient.nature, Nature::Loopback | Nature::Stacked) {
        findings.push(zero_copy(patient));
    }
    findings
}

/// Where the program will see packets.
fn mode(patient: &Patient<'_>) -> Finding {
    let driver = &patient.driver;
    let slower = "the network stack prepares each packet before the program sees it: slower, but \
 counted just the same";
    let Some(xdp) = patient.device.xdp else {
        let asked = "this kernel can't be asked (6.3 can); driver mode is tried first";
        return match (patient.nature, known(patient)) {
            (Nature::Card, Some(_)) => {
                let is = format!("driver mode, most likely: {driver} is known to have it");
                Finding::note("mode", is).because(asked)
            }
            (Nature::Veth | Nature::Tap, _) => Finding::well("mode", "driver mode"),
            (Nature::Loopback | Nature::Stacked, _) => {
                Finding::note("mode", "generic mode, most likely").because(slower)
            }
            (Nature::Card | Nature::Virtual, _) => {
                Finding::note("mode", "will be found when a program is attached").because(asked)
            }
        };
    };
    match (xdp.driver_mode, patient.nature) {
        (true, Nature::Tap) => Finding::well("mode", "driver mode").because(
            "the program runs where a frame is written; frames longer than a page go to it by \
             the stack, and are counted too",
        ),
        (true, _) => Finding::well("mode", format!("driver mode: {driver} supports it")),
        (false, Nature::Loopback) => {
            Finding::note("mode", "generic mode: loopback has no driver").because(slower)
        }
        (false, Nature::Card) => Finding::note(
            "mode",
            format!("generic mode: {driver} has no place for programs"),
        )
        .because(slower)
        .so("where packets are lost, take a card whose driver has XDP: ice, i40e, igc, mlx5_core"),
        (false, _) => {
            Finding::note("mode", format!("generic mode: {driver} has no other")).because(slower)
        }
    }
}

/// What makes some drivers refuse, without saying so.
fn obstacle(patient: &Patient<'_>) -> Option<Finding> {
    let name = &patient.device.name;
    let virtual_functions = patient.read("device/sriov_numvfs");
    let virtual_functions = virtual_functions.filter(|number| number != "0");
    match (patient.driver.as_str(), virtual_functions) {
        // `ixgbe_xdp_setup`.
        ("ixgbe", Some(number)) => Some(
            Finding::better("SR-IOV", format!("{number} virtual functions"))
                .because("ixgbe refuses driver mode as long as there are any")
                .so(format!("echo 0 > {}", patient.path("device/sriov_numvfs"))),
        ),
        // `virtnet_xdp_set`.
        ("virtio_net", _) => Some(
            Finding::note("host", "may merge packets before this machine sees them")
                .because(format!(
                    "virtio_net refuses driver mode then, if it can't switch that off: if {name} \
                     is attached in generic mode, that is why"
                ))
                .so(
                    "QEMU: -device virtio-net-pci,guest_tso4=off,guest_tso6=off,guest_ecn=off,\
                     guest_ufo=off,guest_csum=off",
                ),
        ),
        _ => None,
    }
}

/// Whether frames fit.
fn mtu(patient: &Patient<'_>) -> Option<Finding> {
    let device = patient.device;
    let (name, mtu) = (&device.name, device.mtu);
    let driver = known(patient);
    let multi_buffer = match device.xdp {
        Some(xdp) if !xdp.driver_mode => return None,
        Some(xdp) => xdp.multi_buffer,
        None => driver.is_some_and(|driver| driver.multi_buffer),
    };
    let limit = driver.map_or(PAGE, |driver| driver.mtu);
    Some(match (mtu <= limit, multi_buffer) {
        (_, true) => Finding::well("MTU", format!("{mtu}; any will do, with multi-buffer")),
        (true, false) => Finding::well("MTU", format!("{mtu}; without multi-buffer up to {limit}")),
        (false, false) => Finding::better("MTU", format!("{mtu}: too long for driver mode"))
            .because(format!(
                "{} has no multi-buffer here: packets may have up to {limit} bytes, or generic mode \
                 is what remains",
                patient.driver
            ))
            .so(format!("ip link set {name} mtu 1500")),
    })
}

/// What happens to the link.
fn attaching(patient: &Patient<'_>) -> Option<Finding> {
    let driver = known(patient).filter(|driver| driver.resets)?;
    let is = format!(
        "{} sets up its queues anew, and may drop the link",
        driver.name
    );
    Some(Finding::note("attaching", is).because(
        "what arrives before the carrier is back is lost, and counted nowhere, at the start and \
         at the end; a reload or an upgrade with --pins does without",
    ))
}

/// Packets that are taken whole.
fn zero_copy(patient: &Patient<'_>) -> Finding {
    let asked = patient.device.xdp;
    let release = release(patient.system).unwrap_or_default();
    let zero_copy = match (asked, known(patient)) {
        (Some(xdp), _) => Some(xdp.zero_copy),
        (None, Some(driver)) if driver.zero_copy || release <= (6, 2) => Some(driver.zero_copy),
        (None, _) => None,
    };
    match zero_copy {
        Some(true) => Finding::well(
            "zero-copy",
            "the driver has it, for packets taken whole (AF_XDP)",
        ),
        Some(false) => Finding::well(
            "zero-copy",
            "no: packets taken whole (AF_XDP) are copied once",
        ),
        None => Finding::well("zero-copy", "not known before it is tried"),
    }
}

//! Names, prices and data sheets: five makers and ten classes per category, all of them invented.

use crate::catalog::Spec;

/// What the number of a product says about it.
pub struct Sheet {
    /// Maker.
    pub brand: &'static str,
    /// Full name.
    pub name: String,
    /// Price of its class in taka.
    pub price: i64,
    /// One paragraph.
    pub description: String,
    /// The data sheet.
    pub specs: Vec<Spec>,
}

/// Classes per category; the makers are as many as make fifty products.
const CLASSES: usize = 10;

/// What a category's products have in common.
struct Family {
    /// Maker and the name of its series.
    makers: [(&'static str, &'static str); 5],
    /// One class each: what follows the series in the name, and the price in taka.
    classes: [(&'static str, i64); CLASSES],
    /// Name of a property and its value in each class.
    specs: &'static [(&'static str, [&'static str; CLASSES])],
    /// How the description begins, after the name.
    pitch: &'static str,
    /// How it goes on, one for each maker.
    character: [&'static str; 5],
}

/// The data sheet of one product; `index` below fifty.
pub fn fill(category: &str, index: usize) -> Sheet {
    let family = family(category);
    let (maker, class) = (
        index % family.makers.len(),
        index / family.makers.len() % CLASSES,
    );
    let (brand, series) = family.makers[maker];
    let (model, price) = family.classes[class];
    let name = format!("{brand} {series} {model}");
    let mut specs: Vec<Spec> = family
        .specs
        .iter()
        .map(|(name, values)| Spec {
            name: (*name).to_owned(),
            value: values[class].to_owned(),
        })
        .collect();
    specs.push(Spec {
        name: "Warranty".to_owned(),
        value: ["1 year", "2 years"][usize::from(class > 4)].to_owned(),
    });
    let description = format!("The {name} {}. {}", family.pitch, family.character[maker]);
    Sheet {
        brand,
        name,
        price,
        description,
        specs,
    }
}

fn family(category: &str) -> &'static Family {
    match category {
        "phones" => &PHONES,
        "laptops" => &LAPTOPS,
        "headphones" => &HEADPHONES,
        "televisions" => &TELEVISIONS,
        "cameras" => &CAMERAS,
        "power-banks" => &POWER_BANKS,
        "routers" => &ROUTERS,
        "watches" => &WATCHES,
        "gaming" => &GAMING,
        _ => &HOME_APPLIANCES,
    }
}

#[rustfmt::skip] // A table, one property a row.
const PHONES: Family = Family {
    makers: [("Jonakio", "Nova"), ("Tarango", "Pulse"), ("Rupoli", "Lekha"), ("Voltero", "X"), ("Kestaro", "Glide")],
    classes: [
        ("C1", 8_990), ("C3", 11_990), ("A5", 14_990), ("A7", 18_990), ("A7 Plus", 23_990), ("S8", 31_990),
        ("S8 Pro", 42_990), ("S9 Pro", 58_990), ("Ultra", 94_990), ("Fold", 149_990),
    ],
    specs: &[
        ("Display", ["6.1\" HD+ LCD", "6.5\" HD+ LCD", "6.6\" FHD+ LCD", "6.6\" FHD+ 90 Hz", "6.7\" AMOLED 90 Hz",
            "6.5\" AMOLED 120 Hz", "6.7\" AMOLED 120 Hz", "6.7\" OLED 120 Hz", "6.8\" OLED 144 Hz",
            "7.8\" folding OLED"]),
        ("Memory", ["3 GB", "4 GB", "4 GB", "6 GB", "8 GB", "8 GB", "8 GB", "12 GB", "16 GB", "16 GB"]),
        ("Storage", ["32 GB", "64 GB", "128 GB", "128 GB", "128 GB", "256 GB", "256 GB", "256 GB", "512 GB", "1 TB"]),
        ("Camera", ["8 MP", "13 MP", "50 MP", "50 MP", "50 + 8 MP", "64 + 8 MP", "50 + 12 MP", "50 + 12 + 8 MP",
            "200 + 50 + 12 MP", "50 + 12 + 10 MP"]),
        ("Battery", ["4000 mAh", "5000 mAh", "5000 mAh", "5000 mAh", "5000 mAh", "4500 mAh", "5000 mAh", "5000 mAh",
            "5500 mAh", "4800 mAh"]),
        ("Network", ["4G", "4G", "4G", "4G", "5G", "5G", "5G", "5G", "5G", "5G"]),
    ],
    pitch: "takes two SIM cards, runs Bangla keyboards out of the box and lasts a long day between charges",
    character: [
        "The bright screen stays readable in the noon sun.", "Fast charging takes it from empty to half in half an hour.",
        "The slim frame sits well in one hand.", "It stays cool through long video calls.",
        "The stereo speakers are made for films on the launch home.",
    ],
};

#[rustfmt::skip] // A table, one property a row.
const LAPTOPS: Family = Family {
    makers: [("Voltero", "Book"), ("Mohona", "Flow"), ("Kestaro", "Slate"), ("Aloron", "Edge"), ("Nirjhor", "Air")],
    classes: [
        ("11", 28_990), ("14", 38_990), ("14 Plus", 47_990), ("15", 54_990), ("15 Plus", 66_990), ("14 Pro", 82_990),
        ("16 Pro", 104_990), ("16 Creator", 139_990), ("17 Gaming", 168_990), ("16 Studio", 224_990),
    ],
    specs: &[
        ("Display", ["11.6\" HD", "14\" HD", "14\" FHD", "15.6\" FHD", "15.6\" FHD IPS", "14\" 2.2K IPS", "16\" 2.5K IPS",
            "16\" 3.2K OLED", "17.3\" FHD 165 Hz", "16\" 4K OLED"]),
        ("Processor", ["2 cores, 2.6 GHz", "4 cores, 3.3 GHz", "4 cores, 3.6 GHz", "6 cores, 4.2 GHz",
            "8 cores, 4.4 GHz", "8 cores, 4.6 GHz", "10 cores, 4.8 GHz", "12 cores, 4.9 GHz", "14 cores, 5.1 GHz",
            "16 cores, 5.2 GHz"]),
        ("Memory", ["4 GB", "8 GB", "8 GB", "8 GB", "16 GB", "16 GB", "16 GB", "32 GB", "32 GB", "64 GB"]),
        ("Storage", ["128 GB SSD", "256 GB SSD", "256 GB SSD", "512 GB SSD", "512 GB SSD", "512 GB SSD", "1 TB SSD",
            "1 TB SSD", "1 TB SSD", "2 TB SSD"]),
        ("Weight", ["1.1 kg", "1.4 kg", "1.4 kg", "1.7 kg", "1.7 kg", "1.3 kg", "1.8 kg", "1.9 kg", "2.7 kg", "2.1 kg"]),
    ],
    pitch: "wakes in a second, types quietly and has the ports a Dhaka office still asks for",
    character: [
        "The hinge opens flat for work across a table.", "A matte screen keeps the ceiling fan out of view.",
        "The aluminium lid shrugs off a full backpack.", "Two fans keep it steady under load.",
        "It is light enough to forget in a bag.",
    ],
};

#[rustfmt::skip] // A table, one property a row.
const HEADPHONES: Family = Family {
    makers: [("Shurela", "Tone"), ("Tarango", "Beat"), ("Dhwanix", "Hush"), ("Rupoli", "Dot"), ("Orbeto", "Air")],
    classes: [
        ("10", 690), ("20", 990), ("30", 1_490), ("Go", 2_290), ("Buds", 2_990), ("Buds Pro", 4_990), ("Over", 6_490),
        ("Over Pro", 9_990), ("Studio", 15_990), ("Reference", 27_990),
    ],
    specs: &[
        ("Type", ["In-ear, wired", "In-ear, wired", "On-ear, wired", "On-ear, wireless", "Earbuds", "Earbuds", "Over-ear",
            "Over-ear", "Over-ear, wired and wireless", "Open over-ear, wired"]),
        ("Noise cancelling", ["No", "No", "No", "No", "No", "Active", "No", "Active", "Adaptive", "No"]),
        ("Playing time", ["Unlimited", "Unlimited", "Unlimited", "30 h", "24 h with case", "32 h with case", "40 h",
            "45 h", "60 h", "Unlimited"]),
        ("Driver", ["9 mm", "10 mm", "30 mm", "32 mm", "10 mm", "11 mm", "40 mm", "40 mm", "45 mm", "50 mm planar"]),
        ("Microphone", ["Yes", "Yes", "Yes", "Yes", "2", "4 with wind guard", "2", "4 with wind guard", "6", "No"]),
    ],
    pitch: "plays clear voices first, with bass that does not drown them",
    character: [
        "The soft pads stay comfortable through a double lecture.", "Rain and sweat do it no harm.",
        "It turns a bus into a reading room.", "The case fits the smallest pocket.", "It switches between phone and laptop by itself.",
    ],
};

#[rustfmt::skip] // A table, one property a row.
const TELEVISIONS: Family = Family {
    makers: [("Aloron", "View"), ("Drishti", "Vista"), ("Mohona", "Wide"), ("Lumeko", "Glow"), ("Orbeto", "Cine")],
    classes: [
        ("24 HD", 11_990), ("32 HD", 17_990), ("32 Smart", 21_990), ("40 Smart", 29_990), ("43 4K", 38_990),
        ("50 4K", 49_990), ("55 4K", 64_990), ("55 QLED", 89_990), ("65 QLED", 129_990), ("75 OLED", 289_990),
    ],
    specs: &[
        ("Screen", ["24 inches", "32 inches", "32 inches", "40 inches", "43 inches", "50 inches", "55 inches", "55 inches",
            "65 inches", "75 inches"]),
        ("Resolution", ["1366 × 768", "1366 × 768", "1366 × 768", "1920 × 1080", "3840 × 2160", "3840 × 2160",
            "3840 × 2160", "3840 × 2160", "3840 × 2160", "3840 × 2160"]),
        ("Panel", ["LED", "LED", "LED", "LED", "LED, HDR", "LED, HDR", "LED, HDR", "Quantum dot", "Quantum dot, 120 Hz",
            "OLED, 120 Hz"]),
        ("HDMI", ["1", "2", "2", "2", "3", "3", "3", "4", "4", "4"]),
        ("Sound", ["10 W", "16 W", "16 W", "20 W", "20 W", "24 W", "24 W", "30 W", "40 W", "60 W"]),
        ("Voltage", ["110-260 V", "110-260 V", "110-260 V", "110-260 V", "110-260 V", "110-260 V", "110-260 V",
            "110-260 V", "110-260 V", "110-260 V"]),
    ],
    pitch: "keeps fast bowlers sharp, evens out a restless mains voltage and hangs on any standard bracket",
    character: [
        "Colours stay true from the side of the sofa.", "The narrow frame disappears when the lights go out.",
        "The remote control finds Bangla titles by voice.", "Its sensor dims the picture with the evening.", "The speakers do without a sound bar.",
    ],
};

#[rustfmt::skip] // A table, one property a row.
const CAMERAS: Family = Family {
    makers: [("Pixoro", "P"), ("Drishti", "Eye"), ("Lumeko", "L"), ("Chhobix", "Frame"), ("Kestaro", "Field")],
    classes: [
        ("Action 1", 12_990), ("Action 3", 19_990), ("Compact", 24_990), ("Zoom 20", 36_990), ("Vlog", 48_990),
        ("M10", 62_990), ("M20", 84_990), ("M30 Pro", 128_990), ("Full 1", 189_990), ("Full 1 Pro", 298_990),
    ],
    specs: &[
        ("Sensor", ["1/2.3\"", "1/1.9\"", "1/2.3\"", "1/2.3\"", "1\"", "APS-C", "APS-C", "APS-C", "Full frame",
            "Full frame, stacked"]),
        ("Resolution", ["12 MP", "20 MP", "16 MP", "20 MP", "20 MP", "24 MP", "26 MP", "33 MP", "24 MP", "50 MP"]),
        ("Video", ["4K 30", "5.3K 60", "FHD 60", "4K 30", "4K 60", "4K 30", "4K 60", "4K 120", "4K 60", "8K 30"]),
        ("Stabiliser", ["Electronic", "Electronic", "Optical", "Optical", "Electronic", "In lens", "In body", "In body",
            "In body", "In body"]),
        ("Weight", ["128 g", "154 g", "220 g", "340 g", "295 g", "390 g", "460 g", "540 g", "640 g", "720 g"]),
    ],
    pitch: "finds faces in the first light over the river and keeps them sharp when they move",
    character: [
        "The grip is made for long weddings.", "Seals keep the monsoon outside.", "The screen turns towards whoever is speaking.",
        "Pictures reach the phone before the tea is ready.", "It charges from any power bank.",
    ],
};

#[rustfmt::skip] // A table, one property a row.
const POWER_BANKS: Family = Family {
    makers: [("Voltero", "Cell"), ("Shoktix", "Pack"), ("Jonakio", "Spark"), ("Orbeto", "Fuel"), ("Tarango", "Charge")],
    classes: [
        ("5K", 690), ("10K", 1_190), ("10K Slim", 1_490), ("10K Wireless", 2_190), ("20K", 2_290), ("20K 22W", 2_990),
        ("20K 65W", 4_490), ("27K 100W", 7_490), ("30K Laptop", 9_490), ("50K Station", 18_990),
    ],
    specs: &[
        ("Capacity", ["5,000 mAh", "10,000 mAh", "10,000 mAh", "10,000 mAh", "20,000 mAh", "20,000 mAh", "20,000 mAh",
            "27,000 mAh", "30,000 mAh", "50,000 mAh"]),
        ("Power", ["10 W", "12 W", "18 W", "15 W wireless", "18 W", "22.5 W", "65 W", "100 W", "100 W", "200 W"]),
        ("Ports", ["1 USB-A", "2 USB-A", "USB-A, USB-C", "USB-A, USB-C", "2 USB-A, USB-C", "2 USB-A, USB-C",
            "USB-A, 2 USB-C", "USB-A, 2 USB-C", "2 USB-A, 2 USB-C", "2 USB-A, 2 USB-C, 230 V"]),
        ("Weight", ["120 g", "210 g", "185 g", "230 g", "380 g", "395 g", "440 g", "610 g", "690 g", "1.6 kg"]),
    ],
    pitch: "keeps phones, routers and lamps going through load-shedding and shows honestly what is left",
    character: [
        "It charges itself and a phone at once.", "The shell survives a fall down the stairs.", "A small light finds the keyhole.",
        "It stays cool in a shirt pocket.", "The cable is built in, so it is never forgotten.",
    ],
};

#[rustfmt::skip] // A table, one property a row.
const ROUTERS: Family = Family {
    makers: [("Netoro", "Link"), ("Mohona", "Mesh"), ("Orbeto", "Wave"), ("Shetux", "Bridge"), ("Nirjhor", "Stream")],
    classes: [
        ("N300", 1_290), ("N450", 1_790), ("AC750", 2_290), ("AC1200", 2_990), ("AC1900", 4_490), ("AX1800", 5_990),
        ("AX3000", 7_990), ("AX5400", 13_990), ("AX3000 Trio", 21_990), ("BE9300", 34_990),
    ],
    specs: &[
        ("Wi-Fi", ["4, 300 Mbit/s", "4, 450 Mbit/s", "5, 750 Mbit/s", "5, 1.2 Gbit/s", "5, 1.9 Gbit/s", "6, 1.8 Gbit/s",
            "6, 3 Gbit/s", "6, 5.4 Gbit/s", "6 mesh, 3 Gbit/s", "7, 9.3 Gbit/s"]),
        ("Antennas", ["2", "3", "3", "4", "4", "4", "4", "6", "Inside, 3 units", "8"]),
        ("LAN ports", ["4 × 100 Mbit/s", "4 × 100 Mbit/s", "4 × 100 Mbit/s", "4 × 1 Gbit/s", "4 × 1 Gbit/s",
            "4 × 1 Gbit/s", "4 × 1 Gbit/s", "4 × 1 Gbit/s", "3 × 1 Gbit/s each", "4 × 2.5 Gbit/s"]),
        ("Reach", ["80 m²", "90 m²", "100 m²", "110 m²", "130 m²", "140 m²", "160 m²", "190 m²", "420 m²", "230 m²"]),
        ("Power", ["9 V", "9 V", "12 V", "12 V", "12 V", "12 V", "12 V", "12 V", "12 V", "12 V"]),
    ],
    pitch: "goes through brick walls, speaks PPPoE with every provider in the country and runs from a small UPS",
    character: [
        "Setting it up takes one page in Bangla.", "Guests get a network of their own.", "It restarts itself when the line hangs.",
        "Children's hours are set per device.", "It picks the quietest channel of the building.",
    ],
};

#[rustfmt::skip] // A table, one property a row.
const WATCHES: Family = Family {
    makers: [("Somoyo", "Fit"), ("Jonakio", "Loop"), ("Rupoli", "Arc"), ("Kestaro", "Trail"), ("Shurela", "Mini")],
    classes: [
        ("1", 1_490), ("2", 1_990), ("2 Plus", 2_790), ("3", 3_490), ("3 Call", 4_290), ("4", 5_990), ("4 GPS", 8_490),
        ("5 AMOLED", 12_990), ("Sport", 19_990), ("Titan", 38_990),
    ],
    specs: &[
        ("Display", ["1.1\" LCD", "1.47\" LCD", "1.69\" LCD", "1.83\" LCD", "1.83\" LCD", "1.43\" AMOLED", "1.43\" AMOLED",
            "1.75\" AMOLED", "1.4\" transflective", "1.5\" sapphire AMOLED"]),
        ("Battery", ["14 days", "12 days", "10 days", "7 days", "7 days", "8 days", "10 days", "9 days", "21 days",
            "16 days"]),
        ("Water", ["IP67", "IP68", "IP68", "IP68", "IP68", "5 ATM", "5 ATM", "5 ATM", "10 ATM", "10 ATM"]),
        ("Sensors", ["Steps", "Heart rate", "Heart rate, SpO₂", "Heart rate, SpO₂", "Heart rate, SpO₂",
            "Heart rate, SpO₂", "Heart rate, SpO₂, GPS", "Heart rate, SpO₂, GPS", "All, barometer, GPS",
            "All, ECG, dual GPS"]),
        ("Calls", ["No", "No", "No", "No", "Yes", "Yes", "No", "Yes", "No", "Yes"]),
    ],
    pitch: "counts steps and sleep, shows messages in Bangla and reminds of prayer times without a phone nearby",
    character: [
        "The strap changes in a second.", "A turn of the wrist answers a call.", "The face can be read without glasses.",
        "It knows a ferry ride from a run.", "It is made for narrow wrists.",
    ],
};

#[rustfmt::skip] // A table, one property a row.
const GAMING: Family = Family {
    makers: [("Khelix", "One"), ("Voltero", "Play"), ("Aloron", "Arena"), ("Dhwanix", "Quest"), ("Netoro", "Rush")],
    classes: [
        ("Mouse", 1_190), ("Mouse Pro", 2_990), ("Pad", 2_490), ("Pad Pro", 4_990), ("Keyboard", 3_990),
        ("Keyboard Pro", 8_990), ("Handheld", 24_990), ("Console", 48_990), ("Console Pro", 69_990), ("VR", 58_990),
    ],
    specs: &[
        ("Kind", ["Mouse", "Wireless mouse", "Controller", "Wireless controller", "Keyboard", "Mechanical keyboard",
            "Handheld console", "Console", "Console", "VR headset"]),
        ("Connection", ["USB", "2.4 GHz, USB", "USB", "Bluetooth, USB", "USB", "Bluetooth, USB", "Wi-Fi 6, USB-C",
            "Wi-Fi 5, HDMI 2.0", "Wi-Fi 6, HDMI 2.1", "Wi-Fi 6, USB-C"]),
        ("Response", ["1 ms", "0.5 ms", "4 ms", "2 ms", "2 ms", "1 ms", "60 Hz", "60 Hz", "120 Hz", "90 Hz"]),
        ("Weight", ["92 g", "63 g", "240 g", "255 g", "780 g", "940 g", "420 g", "3.2 kg", "3.9 kg", "510 g"]),
        ("Lights", ["1 zone", "RGB", "No", "RGB", "3 zones", "RGB per key", "No", "No", "RGB", "No"]),
    ],
    pitch: "answers before the thumb has finished, and keeps doing so for a few million presses",
    character: [
        "It is quiet enough for a shared room.", "The grip is textured for humid evenings.", "Profiles travel with it to the next café.",
        "Spare parts are in stock.", "Friends can join without another cable.",
    ],
};

#[rustfmt::skip] // A table, one property a row.
const HOME_APPLIANCES: Family = Family {
    makers: [("Ghoroya", "Home"), ("Mohona", "Care"), ("Nirjhor", "Pure"), ("Rannagho", "Chef"), ("Lumeko", "Easy")],
    classes: [
        ("Kettle", 1_290), ("Blender", 2_990), ("Rice Cooker", 3_490), ("Stand Fan", 4_290), ("Iron", 1_990),
        ("Microwave", 11_990), ("Vacuum", 9_990), ("Washer 8 kg", 38_990), ("Fridge 260", 46_990), ("AC 1.5 Ton", 62_990),
    ],
    specs: &[
        ("Power", ["1500 W", "600 W", "700 W", "55 W", "2000 W", "800 W", "1400 W", "400 W", "120 W", "1550 W"]),
        ("Size", ["1.8 l", "1.5 l", "1.8 l", "16 inches", "300 ml tank", "23 l", "2 l", "8 kg", "260 l", "1.5 ton"]),
        ("Energy", ["A", "A", "A", "5 stars", "A", "A", "A", "5 stars", "5 stars", "Inverter, 5 stars"]),
        ("Noise", ["68 dB", "78 dB", "42 dB", "52 dB", "48 dB", "58 dB", "72 dB", "56 dB", "38 dB", "44 dB"]),
        ("Cable", ["0.8 m", "1.1 m", "1.2 m", "1.6 m", "1.9 m", "1.2 m", "5 m", "1.5 m", "1.8 m", "3 m"]),
    ],
    pitch: "does its work without fuss, starts at low voltage and has spare parts within the week",
    character: [
        "Every part that gets dirty comes off.", "The controls are marked in Bangla.", "It is among the quietest of its kind.",
        "The handle stays cool.", "It cleans itself while nobody looks.",
    ],
};

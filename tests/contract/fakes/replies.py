"""What miners say, as documented: real shapes with two GPUs, on buses 01 and 0b (11), at 61.5 and 30.25 MH/s."""

from __future__ import annotations

from typing import Any

RATES = (61_500_000, 30_250_000)
TOTAL = sum(RATES)
BUSES = ("0000:01:00.0", "0000:0b:00.0")

TREX: dict[str, Any] = {
    "accepted_count": 6, "rejected_count": 1, "solved_count": 0, "active_pool": {
        "difficulty": "4.00 G", "ping": 97, "retries": 0, "url": "stratum+tcp://pool.example:4444",
        "user": "0xWALLET", "worker": "rig",
    },
    "algorithm": "ethash", "api": "1.3", "cuda": "11.20", "description": "T-Rex NVIDIA GPU miner",
    "driver": "470.57", "gpu_total": 2, "hashrate": TOTAL, "hashrate_minute": TOTAL, "name": "t-rex",
    "os": "linux", "paused": False, "uptime": 3_600, "version": "0.26.8", "ts": 1_669_000_000,
    "gpus": [
        {"device_id": 0, "gpu_id": 0, "gpu_user_id": 0, "name": "RTX 3070", "vendor": "MSI", "pci_bus": 1,
         "pci_domain": 0, "pci_id": 0, "hashrate": RATES[0], "fan_speed": 66, "temperature": 61,
         "memory_temperature": 88, "power": 120, "paused": False, "disabled": False},
        {"device_id": 1, "gpu_id": 1, "gpu_user_id": 1, "name": "GTX 1070", "vendor": "ASUS", "pci_bus": 11,
         "pci_domain": 0, "pci_id": 0, "hashrate": RATES[1], "fan_speed": 50, "temperature": 55,
         "power": 100, "paused": False, "disabled": False},
    ],
}  # fmt: skip

LOLMINER: dict[str, Any] = {
    "Software": "lolMiner 1.76a", "Session": {"Startup": 1_669_000_000, "Uptime": 3_600, "Last_Update": 1_669_003_600},
    "Num_Workers": 2, "Workers": [
        {"Index": 0, "Name": "RTX 3070", "Power": 120.5, "CCLK": 1_100, "MCLK": 7_000, "Core_Temp": 61,
         "Juc_Temp": 70, "Mem_Temp": 88, "Fan_Speed": 66, "PCIE_Address": "1:0"},
        {"Index": 1, "Name": "RX 580", "Power": 100, "Core_Temp": 55, "Juc_Temp": 0, "Mem_Temp": 0,
         "Fan_Speed": 50, "PCIE_Address": "11:0"},
    ],
    "Num_Algorithms": 1, "Algorithms": [
        {"Algorithm": "Ethash", "Pool": "pool.example:4444", "User": "0xWALLET", "Worker": "rig",
         "Performance_Unit": "Mh/s", "Performance_Factor": 1_000_000, "Total_Performance": 91.75,
         "Total_Accepted": 6, "Total_Rejected": 1, "Worker_Performance": [61.5, 30.25], "Worker_Accepted": [4, 2]},
    ],
}  # fmt: skip

LOLMINER_OLD: dict[str, Any] = {
    "Software": "lolMiner 1.42", "Mining": {"Coin": "", "Algorithm": "Ethash"},
    "Session": {"Startup": 1_669_000_000, "Uptime": 3_600, "Performance_Summary": 91.75, "Accepted": 6, "Submitted": 7},
    "GPUs": [
        {"Index": 0, "Name": "RTX 3070", "Performance": 61.5, "Session_HWErr": 0, "PCIE_Address": "1:0"},
        {"Index": 1, "Name": "RX 580", "Performance": 30.25, "Session_HWErr": 0, "PCIE_Address": "11:0"},
    ],
    "Stratum": {"Current_Pool": "pool.example:4444", "Current_User": "0xWALLET"},
}  # fmt: skip

GMINER: dict[str, Any] = {
    "miner": "GMiner 3.44", "uptime": 3_600, "server": "stratum://pool.example:4444", "user": "0xWALLET.rig",
    "algorithm": "Ethash", "electricity": 0.1, "pool_speed": 0, "total_accepted_shares": 6,
    "total_rejected_shares": 1, "total_stale_shares": 0, "total_invalid_shares": 0, "devices": [
        {"gpu_id": 0, "cuda_id": 0, "bus_id": "0000:01:00.0", "name": "RTX 3070", "speed": RATES[0], "fan": 66,
         "temperature": 61, "memory_temperature": 88, "power_usage": 120},
        {"gpu_id": 1, "cuda_id": 1, "bus_id": "0000:0b:00.0", "name": "GTX 1070", "speed": RATES[1], "fan": 50,
         "temperature": 55, "memory_temperature": 0, "power_usage": 0},
    ],
}  # fmt: skip

NBMINER: dict[str, Any] = {
    "version": "v42.3", "start_time": 1_669_000_000, "reboot_times": 0, "miner": {
        "devices": [
            {"id": 0, "info": "RTX 3070", "pci_bus_id": 1, "hashrate": "61.50 M", "hashrate_raw": RATES[0],
             "power": 120, "temperature": 61, "memTemperature": 88, "fan": 66},
            {"id": 1, "info": "GTX 1070", "pci_bus_id": 11, "hashrate": "30.25 M", "hashrate_raw": RATES[1],
             "power": 100, "temperature": 55, "memTemperature": -1, "fan": 50},
        ],
        "total_hashrate": "91.75 M", "total_hashrate_raw": TOTAL, "total_power_consume": 220,
    },
    "stratum": {"url": "pool.example:4444", "user": "0xWALLET.rig", "algorithm": "ethash", "difficulty": "4.295 G",
                "accepted_shares": 6, "rejected_shares": 1, "invalid_shares": 0},
}  # fmt: skip

RIGEL: dict[str, Any] = {
    "name": "Rigel", "version": "1.23.2", "os_name": "Linux", "cuda_driver": "12.4", "uptime": 3_600,
    "algorithm": "kawpow", "watchdog": "on", "pools": {"kawpow": [
        {"id": 0, "connection_details": {"username": "0xWALLET", "password": "hunter2", "worker": "rig"}}]},
    "devices": [
        {"id": 0, "selected": True, "name": "RTX 3070", "pci_address": "01:0", "state": "mining",
         "solution_stat": {"kawpow": {"accepted": 4, "rejected": 1, "invalid": 0}},
         "monitoring_info": {"core_temperature": 61, "memory_temperature": 88, "fan_speed": 66, "power_usage": 120},
         "hashrate": {"kawpow": RATES[0]}},
        {"id": 1, "selected": True, "name": "GTX 1070", "pci_address": "0b:0", "state": "mining",
         "monitoring_info": {"core_temperature": 55, "memory_temperature": None, "fan_speed": 50, "power_usage": None},
         "hashrate": {"kawpow": RATES[1]}},
    ],
    "solution_stat": {"kawpow": {"accepted": 6, "rejected": 1, "invalid": 0}}, "hashrate": {"kawpow": TOTAL},
    "power_usage": 220,
}  # fmt: skip

SRBMINER: dict[str, Any] = {
    "rig_name": "rig", "miner_version": "2.4.8", "mining_time": 3_600, "total_gpu_workers": 2, "total_cpu_workers": 0,
    "gpu_devices": [
        {"device": "gpu0", "device_id": 0, "model": "RX 6800", "bus_id": 1, "temperature": 61, "asic_power": 120},
        {"device": "gpu1", "device_id": 1, "model": "RX 580", "bus_id": 11, "temperature": 55, "asic_power": 100},
    ],
    "algorithms": [
        {"id": 0, "name": "autolykos2", "pool": {"pool": "pool.example:4444", "difficulty": 4, "latency": 90},
         "hashrate": {"1min": 0, "now": TOTAL, "gpu": {"gpu0": RATES[0], "gpu1": RATES[1], "total": TOTAL}},
         "shares": {"accepted": 6, "rejected": 1, "avg_find_time": 12}},
    ],
}  # fmt: skip

SRBMINER_OLD: dict[str, Any] = {
    "rig_name": "rig", "miner_version": "0.4.7", "mining_time": 3_600, "algorithm": "ethash", "total_gpu_workers": 2,
    "gpu_devices": SRBMINER["gpu_devices"], "hashrate_total_now": TOTAL,
    "gpu_hashrate": [{"gpu0": RATES[0], "gpu1": RATES[1], "total": TOTAL}], "shares": {"accepted": 6, "rejected": 1},
}  # fmt: skip

BZMINER: dict[str, Any] = {
    "bzminer_version": "v21.3.0", "rig_name": "rig", "uptime_s": 3_600, "cuda_driver_version": 12_000,
    "watchdog_enabled": True, "pools": [
        {"id": 0, "algorithm": "kaspa", "wallet": "0xWALLET", "status": 1, "current_url": "stratum+tcp://pool.example",
         "valid_solutions": 6, "rejected_solutions": 1, "stale_solutions": 0},
        {"id": 1, "algorithm": "kawpow", "status": -771_801_344, "valid_solutions": 0, "rejected_solutions": 0},
    ],
    "devices": [
        {"name": "RTX 3070", "vendor": 1, "pci_bus_id": 1, "status": [3], "pool": [0], "hashrate": [RATES[0]],
         "power": 120, "core_temp": 61, "mem_temp": 88, "fan": 66, "valid_solutions": [4]},
        {"name": "GTX 1070", "vendor": 1, "pci_bus_id": 11, "status": [3], "pool": [0], "hashrate": [RATES[1]],
         "power": 100, "core_temp": 55, "mem_temp": 0, "fan": 50, "valid_solutions": [2]},
    ],
}  # fmt: skip

PHOENIX: list[Any] = [
    "PM 6.2c - ETH", "60", "91750;7;1", "61500;30250", "0;0;0", "off;off", "61;66;55;50", "pool.example:4444",
    "0;0;0;0", "4;3", "0;1", "0;0", "0;0", "0;0", "0;0", "1;11",
]  # fmt: skip

ETHMINER: dict[str, Any] = {
    "connection": {"connected": True, "switches": 1, "uri": "stratum+tcp://0xWALLET.rig:hunter2@pool.example:4444"},
    "devices": [
        {"_index": 0, "_mode": "CUDA", "hardware": {"name": "RTX 3070 7.9 GB", "pci": "01:00.0",
                                                    "sensors": [61, 66, 120.0], "type": "GPU"},
         "mining": {"hashrate": hex(RATES[0]), "pause_reason": None, "paused": False, "shares": [4, 0, 0, 25]}},
        {"_index": 1, "_mode": "CUDA", "hardware": {"name": "GTX 1070 7.9 GB", "pci": "0b:00.0",
                                                    "sensors": [55, 50, 0.0], "type": "GPU"},
         "mining": {"hashrate": hex(RATES[1]), "pause_reason": None, "paused": False, "shares": [2, 1, 0, 90]}},
    ],
    "host": {"name": "rig", "runtime": 3_600, "version": "ethminer-0.18.0+commit.41639944"},
    "mining": {"difficulty": 3_999_938_964, "epoch": 218, "hashrate": hex(TOTAL), "shares": [6, 1, 0, 25]},
    "monitors": None,
}  # fmt: skip

TEAMREDMINER_STATUS = [{"STATUS": "S", "When": 1_669_000_000, "Code": 11, "Msg": "Summary",
                        "Description": "TeamRedMiner 0.10.21"}]  # fmt: skip
TEAMREDMINER: dict[str, Any] = {
    "SUMMARY": [{"Elapsed": 3_600, "KHS av": 91_000.0, "KHS 30s": 91_750.0, "Accepted": 6, "Rejected": 1,
                 "Hardware Errors": 0, "Utility": 1.5}],
    "DEVS": [
        {"GPU": 0, "Enabled": "Y", "Status": "Alive", "Temperature": 61.0, "Fan Percent": 66, "GPU Power": 120,
         "KHS 30s": 61_500.0, "Hardware Errors": 0},
        {"GPU": 1, "Enabled": "Y", "Status": "Alive", "Temperature": 55.0, "Fan Percent": 50,
         "KHS 30s": 30_250.0, "Hardware Errors": 0},
    ],
    "DEVDETAILS": [
        {"DEVDETAILS": 0, "Name": "GPU", "ID": 0, "Model": "RX 6800", "Device Path": "01:00.0"},
        {"DEVDETAILS": 1, "Name": "GPU", "ID": 1, "Model": "RX 580", "Device Path": "0b:00.0"},
    ],
}  # fmt: skip

EXCAVATOR: dict[str, dict[str, Any]] = {
    "info": {"version": "1.7.6a_nvidia", "build_platform": "Linux", "build_time": "2021-11-17 13:26:36",
             "build_number": 3_456, "uptime": 3_600_000, "cpu_load": 3.0, "ram_usage": 167.9},
    "worker.list": {"workers": [
        {"worker_id": 0, "device_id": 0, "params": [], "algorithms": [
            {"id": 20, "name": "daggerhashimoto", "speed": float(RATES[0])}]},
        {"worker_id": 1, "device_id": 1, "params": [], "algorithms": [
            {"id": 20, "name": "daggerhashimoto", "speed": float(RATES[1])}]},
    ]},
    "devices.get": {"devices": [
        {"device_id": 0, "name": "RTX 3070", "gpgpu_type": 1, "details": {"cuda_id": 0, "bus_id": 1},
         "gpu_temp": 61, "gpu_power_usage": 120.0, "gpu_fan_speed": 66},
        {"device_id": 1, "name": "GTX 1070", "gpgpu_type": 1, "details": {"cuda_id": 1, "bus_id": 11},
         "gpu_temp": 55, "gpu_power_usage": 100.0, "gpu_fan_speed": 50},
    ]},
    "algorithm.list": {"algorithms": [
        {"algorithm_id": 20, "name": "daggerhashimoto", "speed": float(TOTAL), "accepted_shares": 6,
         "rejected_shares": 1}]},
}  # fmt: skip

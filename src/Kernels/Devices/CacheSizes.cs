using System.Globalization;
using System.Runtime.InteropServices;

namespace TransferEngine.Kernels;

/// <summary>
/// The bytes of the caches of this machine's first core, as the operating system tells them. What it doesn't tell is taken for 32 KiB, 512 KiB and
/// 8 MiB: sizes that hardly any machine of the last ten years falls below, so that blocks cut to them stay in the cache that they are meant for.
/// </summary>
internal static unsafe class CacheSizes
{
    static CacheSizes()
    {
        try
        {
            if (OperatingSystem.IsLinux())
                ReadLinux();
            else if (OperatingSystem.IsMacOS())
                ReadMacOS();
            else if (OperatingSystem.IsWindows())
                ReadWindows();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException or OverflowException or DllNotFoundException or EntryPointNotFoundException)
        {
            // The sizes that were read stand; for the others there are those above.
        }
        Last = Math.Max(Last, Level2);
    }

    /// <summary>Data of the first level.</summary>
    public static int Level1 { get; private set; } = 32 << 10;

    /// <summary>The second level.</summary>
    public static int Level2 { get; private set; } = 512 << 10;

    /// <summary>The last level, which cores share; the second where there is no third.</summary>
    public static int Last { get; private set; } = 8 << 20;

    /// <summary>Takes over a size if it is plausible.</summary>
    private static void Set(int level, long bytes)
    {
        if (bytes is < 4 << 10 or > 1 << 30)
            return;
        if (level == 1)
            Level1 = (int)bytes;
        else if (level == 2)
            (Level2, Last) = ((int)bytes, (int)bytes);
        else if (level == 3)
            Last = (int)bytes;
    }

    private static void ReadLinux()
    {
        // In the order of levels: the instructions' cache comes between and is left out.
        foreach (string cache in Directory.EnumerateDirectories("/sys/devices/system/cpu/cpu0/cache", "index*").Order(StringComparer.Ordinal))
        {
            string Word(string name) => File.ReadAllText(Path.Combine(cache, name)).Trim();
            string size = Word("size");
            if (Word("type") == "Instruction" || size.Length < 2)
                continue;
            int unit = size[^1] switch { 'K' => 1 << 10, 'M' => 1 << 20, _ => 0 };
            Set(int.Parse(Word("level"), CultureInfo.InvariantCulture), long.Parse(size.AsSpan(..^1), CultureInfo.InvariantCulture) * unit);
        }
    }

    private static void ReadMacOS()
    {
        ReadOnlySpan<string> names = ["hw.perflevel0.l1dcachesize", "hw.perflevel0.l2cachesize", "hw.l3cachesize"];
        for (int level = 1; level <= names.Length; level++)
        {
            long bytes = 0;
            nuint length = sizeof(long);
            if (sysctlbyname(names[level - 1], &bytes, &length, null, 0) == 0)
                Set(level, length == sizeof(int) ? (int)bytes : bytes);
        }
    }

    private static void ReadWindows()
    {
        uint length = 0;
        GetLogicalProcessorInformation(null, &length);
        var entries = new ProcessorInformation[length / sizeof(ProcessorInformation)];
        fixed (ProcessorInformation* first = entries)
        {
            if (first is null || !GetLogicalProcessorInformation(first, &length))
                return;
        }
        const int Cache = 2, Instructions = 1;
        foreach (var entry in entries.Where(e => e.Relationship == Cache && e.CacheType != Instructions).OrderBy(e => e.CacheLevel))
            Set(entry.CacheLevel, entry.CacheSize);
    }

    /// <summary>SYSTEM_LOGICAL_PROCESSOR_INFORMATION with its union read as a cache's descriptor.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct ProcessorInformation
    {
        public nuint Mask;
        public int Relationship;
        public byte CacheLevel;
        public byte Associativity;
        public ushort LineSize;
        public uint CacheSize;
        public int CacheType;
        private readonly ulong rest;
    }

    [DllImport("libc", CharSet = CharSet.Ansi, BestFitMapping = false, ThrowOnUnmappableChar = true)]
    private static extern int sysctlbyname(string name, void* value, nuint* length, void* newValue, nuint newLength);

    [DllImport("kernel32")]
    private static extern bool GetLogicalProcessorInformation(ProcessorInformation* entries, uint* length);
}

namespace TransferEngine.Kernels.Tests.Devices;

public class CacheSizesTests
{
    [Fact]
    public void Levels_grow_outwards()
    {
        Assert.InRange(CacheSizes.Level1, 4 << 10, CacheSizes.Level2);
        Assert.InRange(CacheSizes.Last, CacheSizes.Level2, 1 << 28);
    }

    [SkippableFact]
    public void The_first_level_is_the_one_that_the_kernel_lists()
    {
        const string Cache = "/sys/devices/system/cpu/cpu0/cache";
        Skip.IfNot(Directory.Exists(Cache), "This system lists no caches in files.");
        string data = Directory.EnumerateDirectories(Cache, "index*").Single(index => File.ReadAllText(index + "/level").Trim() == "1" && File.ReadAllText(index + "/type").Trim() != "Instruction");
        Assert.Equal(File.ReadAllText(data + "/size").Trim(), $"{CacheSizes.Level1 >> 10}K");
    }
}

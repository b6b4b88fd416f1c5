using System.Text;
using TransferEngine.Adaptation;
using TransferEngine.Models;
using TransferEngine.Modules;
using TransferEngine.Serialization;
using TransferEngine.Tests.Serialization;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>What was shipped comes back bit for bit; what changed is a small file that fits these weights alone.</summary>
public sealed class ShippedWeightsTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Rolling_back_gives_the_same_bits_even_of_numbers_that_are_none()
    {
        var model = new Sequential(new Linear(3, 2), new BatchNorm1d(2));
        using (new NoGrad())
            ((Linear)model[0]).Bias!.FillInPlace(double.NaN);
        byte[] before = Blobs.Bits(model);
        using var shipped = new ShippedWeights(model);
        Assert.Empty(shipped.Changed());
        using (new NoGrad())
        {
            ((Linear)model[0]).Weight.MultiplyInPlace(2);
            ((BatchNorm1d)model[1]).RunningMean.FillInPlace(-0.0);
        }
        Assert.Equal(["0.weight", "1.running_mean"], shipped.Changed());
        shipped.RollBack();
        Assert.Equal(before, Blobs.Bits(model));
        Assert.Empty(shipped.Changed());
    }

    [Fact]
    public void A_difference_round_trips_and_is_small()
    {
        var generator = new Generator(1);
        var model = new Dtn(generator: generator);
        using var shipped = new ShippedWeights(model);
        byte[] before = Blobs.Bits(model);
        using (var adapter = new AdaBn(model))
            adapter.Adapt(Tensor.Normal([8, 3, 32, 32], generator: generator));
        byte[] adapted = Blobs.Bits(model);
        Assert.All(shipped.Changed(), name => Assert.Contains("running", name, StringComparison.Ordinal));
        string path = folder.File("difference.safetensors"), whole = folder.File("whole.safetensors");
        shipped.SaveDifference(path);
        model.Save(whole);
        Assert.True(new FileInfo(path).Length * 100 < new FileInfo(whole).Length, $"{new FileInfo(path).Length} bytes");
        shipped.RollBack();
        Assert.Equal(before, Blobs.Bits(model));
        using (new NoGrad())
            model.Parameters().First().MultiplyInPlace(3); // what was changed meanwhile is not kept
        Assert.Equal(8, shipped.LoadDifference(path).Count);
        Assert.Equal(adapted, Blobs.Bits(model));
    }

    [Fact]
    public void No_difference_is_a_difference_too()
    {
        var model = new Linear(3, 2);
        using var shipped = new ShippedWeights(model);
        string path = folder.File("none.safetensors");
        shipped.SaveDifference(path);
        Assert.Empty(shipped.LoadDifference(path));
    }

    [Fact]
    public void A_difference_of_other_weights_and_files_that_are_none_are_refused()
    {
        var (model, path) = Saved();
        var other = new Linear(3, 2, generator: new Generator(99));
        byte[] before = Blobs.Bits(other);
        using var shipped = new ShippedWeights(other);
        Assert.Contains("belongs to other weights", Assert.Throws<ArgumentException>(() => shipped.LoadDifference(path)).Message, StringComparison.Ordinal);
        string plain = folder.File("plain.safetensors");
        model.Save(plain);
        Assert.Contains("no difference", Assert.Throws<DataFormatException>(() => shipped.LoadDifference(plain)).Message, StringComparison.Ordinal);
        Assert.Equal(before, Blobs.Bits(other));
    }

    [Fact]
    public void Whatever_is_done_to_the_file_it_is_refused_and_nothing_is_changed()
    {
        var (model, path) = Saved();
        using var shipped = new ShippedWeights(model);
        byte[] before = Blobs.Bits(model), sound = File.ReadAllBytes(path);
        shipped.LoadDifference(path);
        byte[] adapted = Blobs.Bits(model);
        Assert.NotEqual(before, adapted);
        shipped.RollBack();
        for (int at = 0; at < sound.Length; at++)
        {
            byte[] damaged = [.. sound];
            damaged[at] ^= 4;
            Refused(damaged);
            Refused(sound[..at]);
        }
        foreach (var (from, to) in new[] { ("bias", "bios"), ("[2]", "[1,2]"), ("F32", "I32"), ("\"bias\":", "\"bias\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,0]},\"biaz\":") })
            Refused(Renamed(sound, from, to));
        byte[] large = [.. sound, .. new byte[1 << 20]];
        Refused(large);

        void Refused(byte[] bytes)
        {
            string file = folder.Write("damaged.safetensors", bytes);
            try
            {
                shipped.LoadDifference(file);
                // White space in a header, or the case of a key that nobody reads, may differ.
                Assert.Equal(adapted, Blobs.Bits(model));
                shipped.RollBack();
            }
            catch (Exception e) when (e is DataFormatException or ArgumentException)
            {
                Assert.Equal(before, Blobs.Bits(model));
            }
        }
    }

    [Fact]
    public void A_model_of_other_parts_is_refused()
    {
        var model = new Sequential(new Linear(3, 2));
        using var shipped = new ShippedWeights(model);
        Transfer.Lora.Apply(model, "0");
        Assert.Contains("lora", Assert.Throws<InvalidOperationException>(() => shipped.SaveDifference(folder.File("x"))).Message, StringComparison.Ordinal);
    }

    private (Linear Model, string Path) Saved()
    {
        var model = new Linear(3, 2, generator: new Generator(1));
        using var shipped = new ShippedWeights(model);
        using (new NoGrad())
            model.Bias!.MultiplyInPlace(2);
        string path = folder.File("saved.safetensors");
        shipped.SaveDifference(path);
        shipped.RollBack();
        return (model, path);
    }

    private static byte[] Renamed(byte[] file, string from, string to)
    {
        int length = (int)BitConverter.ToInt64(file);
        byte[] header = Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(file, 8, length).Replace(from, to, StringComparison.Ordinal));
        return [.. BitConverter.GetBytes((long)header.Length), .. header, .. file[(8 + length)..]];
    }
}
